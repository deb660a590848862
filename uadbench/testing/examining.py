"""All checks on one model, each to its end: what comes out of anybody's code is told in words, with file and line."""

from __future__ import annotations

import contextlib
import inspect
import io
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from uadbench.errors import UadbenchError
from uadbench.models.base import Model
from uadbench.runtime.timeouts import interrupted
from uadbench.testing.examples import example_batches
from uadbench.testing.form import check_defines_what_it_needs, check_documented, check_options_are_typed
from uadbench.testing.inference import (
    check_batch_independence,
    check_global_generators,
    check_inference_is_deterministic,
    check_input_untouched,
    check_missing_age_and_sex,
    check_output,
    check_quiet,
)
from uadbench.testing.learning import (
    check_gradients_everywhere,
    check_resume,
    check_save_load,
    check_seed,
    check_weights_are_declared,
)

Check = Callable[[type[Model]], None]

CHECKS: tuple[Check, ...] = (
    check_documented,
    check_options_are_typed,
    check_defines_what_it_needs,
    check_output,
    check_batch_independence,
    check_input_untouched,
    check_inference_is_deterministic,
    check_missing_age_and_sex,
    check_quiet,
    check_global_generators,
    check_weights_are_declared,
    check_gradients_everywhere,
    check_save_load,
    check_resume,
    check_seed,
)

LIMIT_S = 60.0
"""Within which a check ends; the networks of this package need a second or a few."""

ONCE_MORE_S = 5.0
"""The same after a check that did not end."""

HERE = Path(__file__).parent
BASE = inspect.getfile(Model)
"""Whose methods stand in for what a model does not define."""
LONGEST = 300


@dataclass(frozen=True)
class CheckOutcome:
    """What came of one check: `wrong` says in words what is wrong, "" if nothing is; `ended`: in time."""

    check: str
    about: str
    wrong: str
    seconds: float
    ended: bool


class TooSlow(BaseException):
    """A check that has not ended; no `except Exception` of a model catches it."""


def examine(model_class: type[Model], limit_s: float = LIMIT_S) -> Iterator[CheckOutcome]:
    """Run every check on a model; one that fails, raises, hangs or exits is told, and the others go on.

    Once a check has run out of its `limit_s`, the others get less, for what hangs once hangs again.
    """
    example_batches()  # reads the atlas, and imports what that needs, outside of the limits
    for check in CHECKS:
        name = check.__name__.removeprefix("check_").replace("_", " ")
        about = (inspect.getdoc(check) or "").partition("\n")[0]
        started = time.monotonic()
        wrong = attempt(lambda check=check: check(model_class), model_class, limit_s)  # type: ignore[misc]
        seconds = time.monotonic() - started
        yield CheckOutcome(name, about, wrong, round(seconds, 2), ended=seconds < limit_s)
        if seconds >= limit_s:
            limit_s = min(limit_s, ONCE_MORE_S)


def attempt(work: Callable[[], object], model_class: type[Model], limit_s: float = LIMIT_S) -> str:
    """Run `work` on a model of this class; what went wrong, in words, or "". Its prints are swallowed.

    The time limit needs the main thread of a POSIX system, and a call into compiled code ends first.
    """
    too_slow = partial(TooSlow, f"is still running after {limit_s:g} s")
    try:
        with interrupted(limit_s, too_slow), contextlib.redirect_stdout(io.StringIO()):
            work()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # anybody's code: it may even call sys.exit
        return _told(error, model_class)
    return ""


def _told(error: BaseException, model_class: type[Model]) -> str:
    """An exception in words, with the deepest line of the model's own code that was under way."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    if isinstance(error, UadbenchError) or (isinstance(error, AssertionError) and Path(last.filename).parent == HERE):
        return str(error)
    if isinstance(error, NotImplementedError) and last.filename == BASE:
        return f"{last.name} is not defined ({_definition(model_class)})"
    files = {_file(base) for base in model_class.__mro__ if issubclass(base, Model)} - {BASE}
    homes = {Path(file).parent for file in files}
    own = [frame for frame in frames if Path(frame.filename).parent in homes and frame.filename != BASE]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else _definition(model_class)
    who = own[0].name if own else model_class.__name__
    text = " ".join(str(error).split())[:LONGEST]
    if isinstance(error, TooSlow):
        return f"{who} {text} ({where})"
    return f"{who} raised {type(error).__name__}{f': {text}' if text else ''} ({where})"


def _definition(model_class: type[Model]) -> str:
    """File and line of the class; the file alone where the source is not to be had."""
    name = Path(_file(model_class)).name
    try:
        return f"{name}:{inspect.getsourcelines(model_class)[1]}"
    except (OSError, TypeError):
        return name


def _file(model_class: type) -> str:
    return str(getattr(sys.modules.get(model_class.__module__), "__file__", None) or model_class.__module__)
