"""What jobs do, one kind a file: functions ``(job, data, slot, progress) -> Result``."""
