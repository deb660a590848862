"""The commands that write, with the least that it can be given, and what reads its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tests.faults.conftest import Call, require_whole
from tests.faults.given import Given
from uadbench.errors import InputError
from uadbench.leaderboard.entries import RESULTS, read_entries
from uadbench.results.near_ideal import read_reference
from uadbench.results.schema import read_result
from uadbench.results.scores import SCORES, read_scores_of

TIMED = frozenset({"result.json", "curve.json", "model.json"})
"""What holds times, or a hash of them, in a run folder."""
FAILED = frozenset({"failure.json"})
LOGGED = frozenset({"mlflow.json"})
COARSE = "from uadbench.cohorts.io import export; from uadbench.types import Grid; "
COARSE += "export.CAPS_GRID = Grid((24, 32, 24), 7.0, (-81.5, -124.5, -71.5))"
"""A tree at 1 mm takes a second a scan."""


@dataclass(frozen=True)
class Writer:
    """A command that writes into the working folder alone.

    Attributes:
        words: The command; `{run}` is what `Given` calls so.
        prepare: Puts into the working folder what is to be there before.
        read: What another command makes of the folder; fails for a file that is torn, or a half that counts as whole.
        varying: Names of files that differ from run to run.
        begun: Names of files that say first that the rest is not whole, which `read` has to see, then that it is.
        before: Python code of its process.
    """

    words: tuple[str, ...]
    prepare: Callable[[Path, Given], None] = lambda home, given: None
    read: Callable[[Path, Given, Call], None] = lambda home, given, call: None
    varying: frozenset[str] = field(default=frozenset())
    begun: frozenset[str] = field(default=frozenset())
    before: str = ""

    def command(self, given: Given) -> list[str]:
        return [word.format(**vars(given)) for word in self.words]


def _older_entry(home: Path, given: Given) -> None:
    shutil.copytree(given.older, home / "leaderboard")


def _older_pages(home: Path, given: Given) -> None:
    shutil.copytree(given.committed, home / "leaderboard")
    (home / "leaderboard" / "models").mkdir()
    (home / "leaderboard" / "models" / "gone.html").write_text("of a model that is no more")
    (home / "leaderboard" / "index.html").write_text("old")


def _own_run(home: Path, given: Given) -> None:
    shutil.copytree(given.run, home / "run")
    shutil.copy(given.database, home / "mlflow.db")


def _read_board(home: Path, given: Given, call: Call) -> None:
    """Every entry that is read is whole, with its scores; no page is of a leftover."""
    root = home / "leaderboard"
    if (root / RESULTS).is_dir():
        for entry in read_entries(root):
            assert read_scores_of(entry.result, entry.scores_file) is not None
        code, out, _ = call("leaderboard", "build", "--check", "--root", root)
        assert code in (0, 1) and ".part-" not in out


def _read_reference(home: Path, given: Given, call: Call) -> None:
    for file in (home / "references").glob("*.json"):
        assert read_reference(file).scans == 8


def _read_shared(home: Path, given: Given, call: Call) -> None:
    code, _, err = call("check", home / "shared", "--against", given.run)
    assert (code == 0) if (home / "shared" / "result.json").is_file() else (code == 3), err
    code, _, err = call("check", given.run, "--against", home)
    assert code in (0, 3) and ".part-" not in err


def _read_simulated(home: Path, given: Given, call: Call) -> None:
    if (home / "out" / "simulated.tsv").is_file():
        table = pd.read_csv(home / "out" / "simulated.tsv", sep="\t")
        assert all((home / "out" / name).is_file() for name in (*table["mask"], *table["altered"], *table["reduction"]))


def _read_export(home: Path, given: Given, call: Call) -> None:
    """`score` finds no export, an unfinished one, or a whole one without answers."""
    code, _, err = call("score", home / "export", "--name", "tool", "--output", home.parent / "never")
    assert code == 2, err
    manifest = home / "export" / "manifest.json"
    if not manifest.is_file():
        assert "no manifest.json" in err, err
    elif not (files := json.loads(manifest.read_text())["files"]):
        assert "is not finished" in err, err
    else:
        assert all((home / "export" / file).is_file() for file in files)


def _read_tree(home: Path, given: Given, call: Call) -> None:
    """A tree without tables is no cohort; one that has them has every scan."""
    code, out, err = call("cohort", "check", home / "tree")
    if (home / "tree" / "sessions.tsv").is_file():
        assert len(list((home / "tree").rglob("*_pet.nii.gz"))) == 2 and "2 scans" in out + err, out + err
    else:
        assert code == 2, out + err


def _read_run(home: Path, given: Given, call: Call) -> None:
    for file in home.glob("runs/*/*/*/fold*/result.json"):
        read_scores_of(read_result(file.parent), file.parent / SCORES)
    require_whole(home)


def _read_split(home: Path, given: Given, call: Call) -> None:
    from uadbench.cohorts.splits.listed import read_split

    try:
        read_split(home / "split.json")
    except InputError:
        assert not (home / "split.json").exists()


def _read_applied(home: Path, given: Given, call: Call) -> None:
    """A summary names files that are there."""
    for file in (home / "out").glob("*_summary.json"):
        assert all((home / "out" / name).is_file() for name in json.loads(file.read_text())["files"].values())


SMALL = ("--protocol", "{protocol}")
WRITERS = {
    "simulate": Writer(
        ("simulate", "{scan}", "--anomaly", "ad", "--severity", "0.3", "--output", "out"), read=_read_simulated
    ),
    "apply": Writer(("apply", "{run}", "{scan}", "--output", "out"), read=_read_applied),
    "testset export": Writer(
        ("testset", "export", "export", *SMALL), read=_read_export, begun=frozenset({"manifest.json"})
    ),
    "score": Writer(
        ("score", "{answered}", "--name", "tool", "--tracking-uri", "none", "--output", "runs"),
        read=_read_run,
        varying=TIMED,
        begun=FAILED,
    ),
    "run": Writer(
        ("run", "--model", "mean", *SMALL, "--tracking-uri", "none", "--output", "runs"),
        read=_read_run,
        varying=TIMED,
        begun=FAILED,
    ),
    "track": Writer(
        ("track", "run", "--tracking-uri", "sqlite:///mlflow.db"), prepare=_own_run, read=_read_run, varying=LOGGED
    ),
    "report": Writer(("report", "{run}", "--output", "report", "--tracking-uri", "none")),
    "compare": Writer(("compare", "{run}", "{other}", "--figure", "figure.png", "--pictures", "pictures.png")),
    "share": Writer(("share", "{run}", "--output", "shared"), read=_read_shared),
    "share --aggregates": Writer(("share", "{run}", "--output", "shared", "--aggregates")),
    "leaderboard add": Writer(("leaderboard", "add", "{run}"), read=_read_board),
    "leaderboard add, again": Writer(("leaderboard", "add", "{run}"), prepare=_older_entry, read=_read_board),
    "leaderboard build": Writer(("leaderboard", "build"), prepare=_older_pages, read=_read_board),
    "leaderboard reference": Writer(
        (
            *("leaderboard", "reference", "--protocol", "smoke", "--scans", "8", "--device", "cpu"),
            *("--output", "references", "--work", "work"),
        ),
        read=_read_reference,
    ),
    "cohort export": Writer(
        ("cohort", "export", "tree", "--participants", "2", "--baseline"), read=_read_tree, before=COARSE
    ),
    "cohort split": Writer(("cohort", "split", "phantom", "--output", "split.json", *SMALL), read=_read_split),
    "new model": Writer(("new", "model", "my_net")),
}
NOT_COUNTED = (".lock", "mlflow.db", "mlflow.db-journal")


def state(home: Path, writer: Writer) -> dict[str, bytes]:
    """What lies in the working folder, by name; of files that differ from run to run only that they are there."""
    files = (file for file in sorted(home.rglob("*")) if file.is_file() and not file.name.endswith(NOT_COUNTED))
    names = {file.relative_to(home): file for file in files}
    return {
        str(name): b"" if name.name in writer.varying else file.read_bytes()
        for name, file in names.items()
        if not any(part.startswith(".part-") or part == "mlartifacts" for part in name.parts)
    }


def require_old_or_new(
    found: dict[str, bytes], before: dict[str, bytes], expected: dict[str, bytes], writer: Writer
) -> None:
    """Fail unless every file is the one of before or the one that was to be written, byte by byte."""
    for name, content in found.items():
        if Path(name).name not in writer.begun:
            assert any(name in tree and content == tree[name] for tree in (before, expected)), name
