"""Code for a process that is killed at a chosen moment, however busy the machine is."""

from __future__ import annotations


def dies_after(pattern: str, times: int = 1) -> str:
    """Python code: kill -9 as soon as so many files whose path matches the pattern have been put in place."""
    return f"""
import os, signal
from fnmatch import fnmatch
from itertools import count
from pathlib import Path

put, seen = Path.replace, count(1)

def replace(file, target):
    done = put(file, target)
    if fnmatch(str(target), {pattern!r}) and next(seen) >= {times}:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

Path.replace = replace
"""
