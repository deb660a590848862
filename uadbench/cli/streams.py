"""Robust standard input, output and error: closed, full or broken streams, and encodings other than UTF-8."""

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
    """Replace the standard streams so that printing raises no unexpected errors.

    Characters that a stream cannot encode are escaped. A closed stream is connected to the null device, so that no
    other file gets its number. Messages that cannot be written to standard error are dropped, and the command goes on.

    Raises:
        Stopped: If the reader of standard output has closed it; no message is printed, as with SIGPIPE.
        Unfinished: If standard output cannot be written for another reason.
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
    """Restart the program with UTF-8 file names if the locale uses another encoding.

    Names on disk are UTF-8 in any locale, and the libraries that write files accept no others.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def require_text(argument: str) -> None:
    """Check that a command line argument is UTF-8; file names from old systems may not be.

    Args:
        argument: The argument.

    Raises:
        InputError: If it is not UTF-8.
    """
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise InputError(f"{argument!a}: not UTF-8; rename the file, or write the argument in UTF-8") from None


def _occupy() -> None:
    """Connect those of the file descriptors 0 to 2 that are closed to the null device."""
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
    if stream is not original or not isinstance(stream, io.TextIOWrapper):  # replaced by other code, such as a test
        return stream
    stream.flush()
    binary = io.BufferedWriter(raw(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(binary, stream.encoding, "backslashreplace", line_buffering=bool(stream.line_buffering))


class _Messages(io.FileIO):
    """Standard error: messages that cannot be written are dropped."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return len(data)


class _Output(io.FileIO):
    """Standard output: the first write error ends the command."""

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
            raise Unfinished(f"cannot write to standard output ({error.strerror})") from None
