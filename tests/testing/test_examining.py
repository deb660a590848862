"""A model that hangs is stopped, and what others raise is told with the line of their own code."""

from __future__ import annotations

import re
import signal
import threading
import time
from pathlib import Path

import pytest

from uadbench import registry
from uadbench.errors import InputError
from uadbench.models.base import Model
from uadbench.testing import CHECKS, attempt, examine, examining
from uadbench.types import Batch, Grid

DEEP = """
from helpers_of_deep import divide
from uadbench.models.base import Model

class Deep(Model):
    '''It fails in a file beside its own.'''

    def anomaly_map(self, batch):
        return divide(batch.images, 0)
"""


class Hangs(Model):
    """It never answers, and lets no exception stop it."""

    def anomaly_map(self, batch: Batch):  # type: ignore[no-untyped-def]
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue


def test_a_model_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "ONCE_MORE_S", 0.1)
    before = signal.getsignal(signal.SIGALRM)
    found = list(examine(Hangs, limit_s=0.5))
    assert len(found) == len(CHECKS)
    hung = [finding.wrong for finding in found if not finding.ended]
    assert [wrong.partition(" is still running after ")[2].partition(" (")[0] for wrong in hung] == [
        "0.5 s",
        *["0.1 s"] * (len(hung) - 1),
    ]
    assert any(re.match(r"anomaly_map is .* \(test_examining\.py:", wrong) for wrong in hung)
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_the_deepest_line_of_its_own_code_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helpers_of_deep.py").write_text("def divide(images, by):\n    return 1 // by\n")
    (tmp_path / "deep.py").write_text(DEEP)
    model = registry.models.get(f"{tmp_path}/deep.py:Deep")
    wrong = {finding.check: finding.wrong for finding in examine(model)}
    assert wrong["output"].startswith("anomaly_map raised ZeroDivisionError: ")
    assert wrong["output"].endswith("(helpers_of_deep.py:2)")


class Unbuilt(Model):
    """It wants what nobody gives it."""

    def __init__(self, grid: Grid, width: int) -> None:
        super().__init__(grid)


def test_where_none_of_its_code_ran_its_class_is_named() -> None:
    line = 1 + Path(__file__).read_text(encoding="utf-8").split("\n").index("class Unbuilt(Model):")
    wrong = {finding.check: finding.wrong for finding in examine(Unbuilt)}
    assert wrong["options are typed"] == "option 'width' has no default"
    assert wrong["output"].startswith("Unbuilt raised TypeError: Unbuilt.__init__() missing 1 required positional")
    assert wrong["output"].endswith(f"'width' (test_examining.py:{line})")


def test_errors_of_the_harness_speak_for_themselves() -> None:
    def refuse() -> None:
        raise InputError("no scan here")

    assert attempt(refuse, Hangs) == "no scan here"
    with pytest.raises(KeyboardInterrupt):
        attempt(_interrupted, Hangs)


def _interrupted() -> None:
    raise KeyboardInterrupt


def test_in_another_thread_there_is_no_limit_and_all_else_works() -> None:
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(attempt(lambda: 1 // 0, Hangs, limit_s=0.001)))
    thread.start()
    thread.join()
    assert "ZeroDivisionError" in told[0]


def test_prints_are_swallowed(capsys: pytest.CaptureFixture[str]) -> None:
    attempt(lambda: print("noise"), Hangs)
    assert capsys.readouterr().out == ""
