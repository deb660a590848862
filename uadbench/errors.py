"""What can go wrong in a way a user can mend; each error carries the exit code of the command line."""

LONGEST = 2000


class UadbenchError(Exception):
    """Base of all errors that are told in one line; `exit_code` is what the command returns.

    A name, key or path out of somebody's file can neither break that line, nor steer a terminal, nor fill it.
    """

    exit_code = 3

    def __init__(self, message: str) -> None:
        line = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in message[: LONGEST + 1])
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}...")

    def _render_traceback_(self) -> list[str]:
        """What IPython and notebooks show instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class InputError(UadbenchError):
    """Wrong use or bad input: names the file or option, the value, and what to do."""

    exit_code = 2


class Unfinished(UadbenchError):
    """The work was sound but could not be finished (training diverged, disk full)."""

    exit_code = 3


class Stopped(UadbenchError):
    """A signal ended the command; the exit code is 128 and the signal's number, as a shell has it."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number
