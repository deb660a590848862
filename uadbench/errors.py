"""Errors that the user can fix, each with the exit code of the command line."""

LONGEST = 2000


class UadbenchError(Exception):
    """Base class of all errors that are reported in one line.

    Line breaks and control characters in the message, which may come from names, keys or paths in an untrusted file,
    are replaced, and long messages are truncated.

    Args:
        message: The error message.

    Attributes:
        exit_code: The exit code of the command.
    """

    exit_code = 3

    def __init__(self, message: str) -> None:
        line = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in message[: LONGEST + 1])
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}...")

    def _render_traceback_(self) -> list[str]:
        """What IPython and notebooks show instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class InputError(UadbenchError):
    """Wrong usage or invalid input; the message names the file or option and the value, and says what to do."""

    exit_code = 2


class Unfinished(UadbenchError):
    """Valid work that could not be completed, for example because training diverged or the disk is full."""

    exit_code = 3


class Stopped(UadbenchError):
    """A signal stopped the command; the exit code is 128 plus the signal number, as in a shell.

    Args:
        message: The error message.
        number: The signal number.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number
