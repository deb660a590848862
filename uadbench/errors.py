"""What can go wrong in a way a user can mend; each error carries the exit code of the command line."""


class UadbenchError(Exception):
    """Base of all errors that are told in one line; `exit_code` is what the command returns."""

    exit_code = 3


class InputError(UadbenchError):
    """Wrong use or bad input: names the file or option, the value, and what to do."""

    exit_code = 2


class Unfinished(UadbenchError):
    """The work was sound but could not be finished (training diverged, disk full)."""

    exit_code = 3
