"""Standard input, output and error as a command needs them, also where they are closed, full, or not of UTF-8."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from uadbench.errors import InputError, Stopped, Unfinished

NULL = Path(os.devnull)


@contextmanager
def mended() -> Iterator[None]:
    """Inside, nothing that is printed raises an error of its own.

    Characters that a stream cannot encode are escaped. A stream that is closed is connected to the null device, so that
    no other file gets its number. Messages to a standard error that cannot be written are lost, and the work goes on.

    Raises:
        Stopped: The reader of standard output went away; there is nothing to say, as with SIGPIPE.
        Unfinished: Standard output cannot be written for another reason.
    """
    former = sys.stdin, sys.stdout, sys.stderr
    _occupy()
    sys.stdin = sys.stdin or NULL.open(encoding="utf-8")
    sys.stdout = _mended(sys.stdout, sys.__stdout__, _Output)
    sys.stderr = _mended(sys.stderr, sys.__stderr__, _Messages)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = former


def require_utf8() -> None:
    """Start the program anew, with UTF-8 for the names of files, where the locale says otherwise.

    Names on disk are UTF-8 in any locale, and the libraries that write files take no others.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def require_text(argument: str) -> None:
    """Raise InputError for an argument that is not UTF-8, such as the name of a file from an old system."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise InputError(f"{argument!a}: is not UTF-8; rename the file, or write the argument in UTF-8") from None


def _occupy() -> None:
    """Connect the numbers 0 to 2 to the null device where they are free."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(NULL, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)


def _mended(stream: TextIO | None, original: TextIO | None, raw: type[io.FileIO]) -> TextIO:
    if stream is None:
        return NULL.open("w", encoding="utf-8")
    if stream is not original or not isinstance(
        stream, io.TextIOWrapper
    ):  # somebody has put another one in its place, such as a test
        return stream
    stream.flush()
    binary = io.BufferedWriter(raw(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(binary, stream.encoding, "backslashreplace", line_buffering=bool(stream.line_buffering))


class _Messages(io.FileIO):
    """Messages are not the work: those that cannot be written are lost."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return len(data)


class _Output(io.FileIO):
    """Output is: what cannot be written ends the command, once."""

    broken = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.broken:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.broken = True
            if error.errno == errno.EPIPE:
                raise Stopped("", signal.SIGPIPE) from None
            raise Unfinished(f"standard output: cannot be written ({error.strerror})") from None
