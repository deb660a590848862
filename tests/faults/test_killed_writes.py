"""kill -9 at every step of every command that writes: files are whole or absent, and the same command then works.

`UADBENCH_KILLS=1000 pytest tests/faults/test_killed_writes.py -m ""` tries every step, which takes many minutes;
without it a few of each command are tried. Both print the table of what was found.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.dying import dies_at
from tests.faults.conftest import KILLED, Call
from tests.faults.given import Given
from tests.faults.writers import WRITERS, require_old_or_new, state

pytestmark = pytest.mark.nightly

MOST = int(os.environ.get("UADBENCH_KILLS", "2"))
"""Of so many steps each is tried; of more as many, evenly spread."""


def points(steps: int) -> list[int]:
    """The steps at which a command is killed."""
    return (
        sorted({1 + round(i * (steps - 1) / (MOST - 1)) for i in range(MOST)})
        if steps > MOST
        else [*range(1, steps + 1)]
    )


@pytest.mark.parametrize("name", WRITERS)
def test_killed_at_every_step(name: str, nursery, given: Given, call: Call, tmp_path: Path, record_property) -> None:
    writer, log = WRITERS[name], tmp_path / "steps"

    def start(home: Path, step: int = 0) -> tuple[int, str, str]:
        log.write_bytes(b"")
        (home.parent / "tmp").mkdir(exist_ok=True)
        places = f"import os, tempfile; os.chdir({str(home)!r}); tempfile.tempdir = {str(home.parent / 'tmp')!r}"
        before = "\n".join((places, writer.before, dies_at(step, log)))
        return nursery.start(*writer.command(given), before=before).ended()

    def fresh(label: str) -> Path:
        home = tmp_path / label / "home"
        home.mkdir(parents=True)
        writer.prepare(home, given)
        return home

    home = fresh("undisturbed")
    before = state(home, writer)
    code, out, err = start(home)
    assert code == 0, out + err
    expected = state(home, writer)
    assert start(fresh("counted"))[0] == 0  # the first has put scans into the cache
    steps = log.stat().st_size
    seen: Counter[str] = Counter()
    for step in points(steps):
        home = fresh(str(step))
        assert start(home, step)[0] == -signal.SIGKILL
        found = state(home, writer)
        require_old_or_new(found, before, expected, writer)
        writer.read(home, given, call)
        seen["whole" if found == expected else "absent" if found == before else "some"] += 1
        code, out, err = start(home)
        assert code == 0, (step, out, err)
        assert state(home, writer).keys() == expected.keys(), step
        assert state(home, writer) == expected, step
        assert not list(home.parent.rglob(".part-*")), step
    tried = len(points(steps))
    row = [f"{tried} of {steps}", seen["whole"], seen["some"], seen["absent"], f"{tried} of {tried}"]
    record_property(KILLED, json.dumps([name, *map(str, row)]))
