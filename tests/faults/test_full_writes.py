"""A disk that is full, in every command that writes: one line that names the file, nothing torn, nothing lost.

`pytest tests/faults/test_full_writes.py -m ""` prints the table of what was found.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.faults.conftest import FULL, Call, Disk, one_error
from tests.faults.given import Given
from tests.faults.writers import WRITERS, require_old_or_new, state

pytestmark = pytest.mark.nightly

NAMED = re.compile(r"(\S+): (?:cannot be written|cannot write here|the export needs|MlflowException.* full)")
ROOM_KIB = 64 << 10
TRIED = 3
"""So many full disks, between nothing free and all that is needed."""


@pytest.mark.parametrize("name", WRITERS)
def test_no_room(name: str, disk, nursery, given: Given, call: Call, tmp_path: Path, record_property) -> None:
    writer, missed, codes = WRITERS[name], list[str](), set[int]()

    def start(home: Path) -> tuple[int, str, str]:
        before = f"import os; os.chdir({str(home)!r})\n{writer.before}"
        return nursery.start(*writer.command(given), before=before).ended()

    small: Disk = disk(ROOM_KIB)
    (small.folder / "filler").write_bytes(bytes(16 << 10))
    home = small.folder / "home"
    home.mkdir()
    writer.prepare(home, given)
    before, used = state(home, writer), small.used_kib
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    writer.prepare(elsewhere, given)
    code, out, err = start(elsewhere)
    assert code == 0, out + err
    expected = state(elsewhere, writer)
    needed = -(-sum(len(content) for key, content in expected.items() if before.get(key) != content) // 1024)
    for share in range(TRIED):
        small.resize(used + needed * share // TRIED)
        code, out, err = start(home)
        if code == 0:  # what is replaced makes room
            break
        codes.add(code)
        line = one_error(err)
        found = NAMED.search(line)
        assert code in (2, 3) and found, line
        missed.append(Path(found[1]).name)
        require_old_or_new(state(home, writer), before, expected, writer)
        assert before.keys() <= state(home, writer).keys()
        assert not list(home.rglob(".part-*"))
        writer.read(home, given, call)
    small.resize(ROOM_KIB)
    code, out, err = start(home)
    assert code == 0, out + err
    assert state(home, writer) == expected
    assert missed
    wanted = ", ".join(dict.fromkeys(missed))
    record_property(FULL, json.dumps([name, str(len(missed)), wanted, "nothing", "yes"]))
