"""Running all checks on one model: every fault is described, with file and line, and the next check goes on."""

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
"""Time limit of a check, in seconds; models of this package need a second or a few."""

ONCE_MORE_S = 5.0
"""Time limit after a check that did not end, in seconds."""

HERE = Path(__file__).parent
BASE = inspect.getfile(Model)
"""File of the base class, whose methods raise NotImplementedError if a model does not define them."""
LONGEST = 300


@dataclass(frozen=True)
class CheckOutcome:
    """The outcome of one check.

    Attributes:
        check: Name of the check.
        about: What is checked.
        wrong: Description of the fault; "" if the check passed.
        seconds: Duration.
        ended: Whether the check ended within its time limit.
    """

    check: str
    about: str
    wrong: str
    seconds: float
    ended: bool


class TooSlow(BaseException):
    """Raised in a check that exceeds its time limit; no `except Exception` of a model catches it."""


def examine(model_class: type[Model], limit_s: float = LIMIT_S) -> Iterator[CheckOutcome]:
    """Run every check on a model; a check that fails, raises, hangs or exits does not stop the others.

    Once a check has exceeded `limit_s`, the others get less time, since the model will probably hang again.
    """
    example_batches()  # reads the atlas and its imports before the time limits start
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
    """Run `work` on a model of this class; returns a description of what went wrong, or "". Prints are suppressed.

    The time limit works only in the main thread of a POSIX system, and does not interrupt compiled code.
    """
    too_slow = partial(TooSlow, f"is still running after {limit_s:g} s")
    try:
        with interrupted(limit_s, too_slow), contextlib.redirect_stdout(io.StringIO()):
            work()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # third-party code may raise anything, and even call sys.exit
        return _described(error, model_class)
    return ""


def _described(error: BaseException, model_class: type[Model]) -> str:
    """A description of an exception, with the innermost line of the model's own code."""
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
    """File and line of the class; only the file if its source is not available."""
    name = Path(_file(model_class)).name
    try:
        return f"{name}:{inspect.getsourcelines(model_class)[1]}"
    except (OSError, TypeError):
        return name


def _file(model_class: type) -> str:
    return str(getattr(sys.modules.get(model_class.__module__), "__file__", None) or model_class.__module__)
