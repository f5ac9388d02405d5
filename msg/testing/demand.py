"""The one way in which a broken promise is told."""


def demand(holds: bool, promise: str) -> None:
    """Raise ``AssertionError`` with the promise unless it holds."""
    if not holds:
        raise AssertionError(promise)
