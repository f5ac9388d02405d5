"""Tables and figures from plain data: the only room that lays out text or draws."""
