"""Text that may come from a file somebody else made, fit to be shown."""


def printable(text: object) -> str:
    """Text in which nothing can steer a terminal: what is no letter, digit, sign or line break is spelt out."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in str(text))


def one_line(text: object) -> str:
    """The same on one line: line breaks are spelt out too, so that a file cannot say lines of its own."""
    return printable(text).replace("\n", "\\n")


def first_line(error: BaseException) -> str:
    """The first line that an error says, 200 letters of it at most, or its type if it says nothing."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
