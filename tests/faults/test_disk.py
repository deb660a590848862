"""A disk that is full, or may only be read: one line, nothing torn, and the same command goes on when there is room."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.faults.conftest import SAVE_AT_ONCE, SMOKE, Call, Disk, hashes_of, one_error, require_whole, run_of
from uadbench.evaluation.stored_calibration import CALIBRATION
from uadbench.leaderboard.entries import RESULTS
from uadbench.models.checkpoint import CARD, CURVE, WEIGHTS
from uadbench.protocols.schema import STORED
from uadbench.results.examples import EXAMPLES
from uadbench.results.schema import PEOPLE, RESULT, read_result
from uadbench.results.scores import SCORES
from uadbench.runs.evaluate import DRAWS
from uadbench.runs.keys import STATE

pytestmark = pytest.mark.nightly

FULL = "No space left on device"
ROOM_KIB = 64 << 10


def too_full(code: int, err: str) -> str:
    """The name of the file for which there was no room."""
    line = one_error(err)
    assert code == 3 and f"cannot be written ({FULL})" in line
    return str(re.findall(r"([^/ ]+): cannot be written", line)[0])


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file that counts."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.fault("disk full while the state of a training is written")
def test_no_room_for_the_state_of_a_training(disk, nursery, undisturbed, outcome) -> None:
    cost = read_result(run_of(undisturbed, "vae3d")).cost
    state_kib = 16 * (cost.parameters or 0) // 1024  # weights, best weights, two moments
    small: Disk = disk(state_kib // 2)
    command = (*SMOKE, "--model", "vae3d", "--output", small.folder)
    code, _, err = nursery.start(*command, before=SAVE_AT_ONCE).ended()
    assert too_full(code, err) == STATE
    require_whole(small.folder)
    small.resize(state_kib * 3 // 2)  # for one, and not for the next beside it
    code, _, err = nursery.start(*command, before=SAVE_AT_ONCE).ended()
    assert too_full(code, err) == STATE
    with safe_open(run_of(small.folder, "vae3d") / STATE, "pt") as state:
        assert '"epoch": 1,' in state.metadata()["json"]
    small.resize(ROOM_KIB)
    code, _, err = nursery.start(*command, before=SAVE_AT_ONCE).ended()
    assert code == 0 and "training continues after epoch 1" in err
    assert hashes_of(small.folder)["vae3d"] == hashes_of(undisturbed)["vae3d"]
    outcome("one line, exit code 3; the state of the epoch before is whole; with room it goes on from it, scores equal")


WRITTEN = (CURVE, WEIGHTS, CARD, DRAWS, CALIBRATION, STORED, PEOPLE, EXAMPLES, SCORES, RESULT)
"""What a run leaves, in the order in which it is written; scores that are put aside come after the card."""

PART = "000000.parquet"


@pytest.mark.parametrize("file", [WEIGHTS, PART, EXAMPLES, SCORES, RESULT])
@pytest.mark.fault("disk full while {file} is written")
def test_no_room_for_a_result(file: str, disk, nursery, undisturbed, outcome) -> None:
    before = WRITTEN[: WRITTEN.index({PART: DRAWS, RESULT: SCORES}.get(file, file))]  # both scores and result, or none
    kib = {name: -(-(run_of(undisturbed, "mean") / name).stat().st_size // 4096) * 4 for name in WRITTEN}
    beside = kib[SCORES] if file == RESULT else 0
    small: Disk = disk(sum(kib[name] for name in before) + beside + kib.get(file, 32) // 2)
    command, at_once = (*SMOKE, "--model", "mean", "--output", small.folder), SAVE_AT_ONCE if file == PART else ""
    code, _, err = nursery.start(*command, before=at_once).ended()
    assert too_full(code, err) == file
    require_whole(small.folder)
    left = {path.name for path in run_of(small.folder, "mean").iterdir()}
    assert {*before} <= left and file not in left and RESULT not in left
    small.resize(ROOM_KIB)
    code, _, err = nursery.start(*command, before=at_once).ended()
    assert code == 0, err
    assert hashes_of(small.folder)["mean"] == hashes_of(undisturbed)["mean"]
    outcome("one line, exit code 3, nothing torn; with room the same command ends, scores equal")


@pytest.mark.fault("disk full while scans are put into the cache")
def test_no_room_for_the_cache(disk, nursery, undisturbed, tmp_path: Path, outcome) -> None:
    small: Disk = disk(2 << 10)
    command = (*SMOKE, "--model", "mean", "--output", tmp_path / "runs")
    code, _, err = nursery.start(*command, UADBENCH_CACHE=small.folder).ended()
    assert code == 3 and f"cannot store scans ({FULL}); set UADBENCH_CACHE" in one_error(err)
    small.resize(ROOM_KIB)
    code, _, err = nursery.start(*command, UADBENCH_CACHE=small.folder).ended()
    assert code == 0, err
    made = int(re.findall(r"phantom: (\d+) scans on", err)[0])
    assert 0 < made < 92
    assert hashes_of(tmp_path / "runs")["mean"] == hashes_of(undisturbed)["mean"]
    outcome(f"one line, exit code 3; with room the {made} of 92 scans that were missing are made, scores equal")


@pytest.mark.fault("disk full in 'leaderboard add'")
def test_no_room_for_a_result_on_the_leaderboard(disk, undisturbed, tmp_path: Path, call: Call, outcome) -> None:
    small: Disk = disk(room := 16)
    run, root = run_of(undisturbed, "mean"), small.folder / "leaderboard"
    assert call("leaderboard", "add", run, "--root", tmp_path / "leaderboard")[0] == 0
    expected, missed = files_of(tmp_path / "leaderboard"), list[str]()
    old = {name: b"an entry of before" for name in expected if name.startswith(RESULTS)}
    for name, content in old.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    while (ended := call("leaderboard", "add", run, "--root", root))[0]:
        missed.append(too_full(ended[0], ended[2]))
        assert {name: content for name, content in files_of(root).items() if name in old} == old
        small.resize(room := room + 24)
    assert files_of(root) == expected
    assert len(old) == 2 and {Path(name).suffix for name in missed} == {".parquet", ".json"}
    outcome("one line, exit code 3; the entry of before keeps both of its files; with room the bytes are those of ever")


@pytest.mark.fault("disk full in 'leaderboard build'")
def test_no_room_for_the_pages_of_the_leaderboard(disk, undisturbed, tmp_path: Path, call: Call, outcome) -> None:
    small: Disk = disk(ROOM_KIB)
    wide, root = tmp_path / "leaderboard", small.folder / "leaderboard"
    for model in ("mean", "identity"):
        for place in (wide, root):
            assert call("leaderboard", "add", run_of(undisturbed, model), "--root", place)[0] == 0
            assert call("leaderboard", "build", "--root", place)[0] == 0
            if model == "mean":
                before = files_of(place)
    expected = files_of(wide)
    shutil.rmtree(root)
    for name, content in {**before, **{n: c for n, c in expected.items() if n.startswith(RESULTS)}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    missed: list[str] = []
    small.resize(room := small.used_kib + 4)
    while (ended := call("leaderboard", "build", "--root", root))[0]:
        missed.append(too_full(ended[0], ended[2]))
        for name, content in files_of(root).items():
            assert content in (before.get(name), expected[name]), name
        small.resize(room := room + 100)
    assert files_of(root) == expected and missed
    names = ", ".join(dict.fromkeys(missed))
    outcome(f"one line, exit code 3 ({names}); every page is the old or the new one; with room equal")


COMMANDS = {
    "run": ("run", "--protocol", "smoke", "--tracking-uri", "none", "--model", "mean", "--output", "{disk}/runs"),
    "track": ("track", "{run}", "--tracking-uri", "sqlite:///{disk}/mlflow.db"),
    "report": ("report", "{run}"),
    "leaderboard add": ("leaderboard", "add", "{run}", "--root", "{disk}/leaderboard"),
    "leaderboard build": ("leaderboard", "build", "--root", "{disk}/leaderboard"),
}


@pytest.mark.fault("read-only folders")
def test_read_only(disk, done: Path, call: Call, monkeypatch: pytest.MonkeyPatch, outcome) -> None:
    small: Disk = disk(ROOM_KIB)
    run = shutil.copytree(run_of(done, "mean"), small.folder / "run")
    assert call("leaderboard", "add", run_of(done, "identity"), "--root", small.folder / "leaderboard")[0] == 0
    small.read_only()
    for name, command in COMMANDS.items():
        code, _, err = call(*(word.format(disk=small.folder, run=run) for word in command))
        assert code in (2, 3), (name, err)
        line = one_error(err)
        assert str(small.folder) in line and re.search(
            "Read-only file system|readonly database|cannot write in", line
        ), line
    monkeypatch.setenv("UADBENCH_CACHE", str(small.folder / "cache"))
    code, _, err = call(*SMOKE, "--model", "mean", "--output", done.parent / "runs")
    assert code == 2 and "cannot write here (Read-only file system)" in one_error(err)
    small.read_only(False)
    assert read_result(run) == read_result(run_of(done, "mean"))
    outcome(f"{', '.join(COMMANDS)}, and a run whose cache is: one line that names the folder, exit code 2 or 3")
