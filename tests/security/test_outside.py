"""What a file says never decides where another is written: names that lead elsewhere, and links that do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from tests.leaderboard.builder import run_folder
from uadbench.cli.main import main
from uadbench.cohorts.caps import Caps
from uadbench.cohorts.io.export import DESCRIPTION, export_caps, scan_path
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.errors import InputError
from uadbench.exchange.answers import find_answers
from uadbench.exchange.export import export_testset
from uadbench.exchange.manifest import manifest_of, write_manifest
from uadbench.exchange.scoring import answered_run
from uadbench.leaderboard import committing
from uadbench.leaderboard.entries import RESULTS, result_path
from uadbench.report.exhibits import exhibits
from uadbench.report.figures import draw_figures
from uadbench.results.anonymise import share
from uadbench.results.schema import RESULT, read_result
from uadbench.results.scores import SCORES, read_scores
from uadbench.runtime.files import require_inside, write_json, write_sealed
from uadbench.runtime.progress import Silent
from uadbench.simulation.files import simulate

AFFINE = np.array([[8.0, 0, 0, -90], [0, 8, 0, -126], [0, 0, 8, -72], [0, 0, 0, 1]])
HOSTILE = [
    *("../x", "../../x", "a/../../x", "/etc/x", "a/b", "..", ".", "", "~/x", "a\\b", "..\\x", "C:\\x", "\\\\host\\x"),
    *("a\0b", "a\nb", "a\rb", "\x1b[2J", "\u202ex", "x" * 300, "x" * 5000, "CON:", "x|y", "x?", "*"),
]
"""What must not name a folder; the last few are names that only Windows does not take."""


@contextmanager
def nothing_changes(folder: Path, but: Path) -> Iterator[None]:
    """Everything in a folder stays as it is, down to times of change, except below `but`."""

    def snapshot() -> dict[Path, object]:
        found: dict[Path, object] = {}
        for there in sorted(folder.rglob("*")):
            if there == but or but in there.parents:
                continue
            content = there.read_bytes() if there.is_file() else there.is_symlink() and there.readlink()
            found[there] = content, (0 if there == but.parent else there.lstat().st_mtime_ns)
        return found

    before = snapshot()
    yield
    assert snapshot() == before


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is nobody's business, beside the one that may be written to."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "index.html").write_text("mine")
    return folder


def scan(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(0).uniform(0.9, 1.1, (23, 28, 23)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, AFFINE), file)
    return file


# --- simulate


def test_simulate_writes_below_its_output(tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "in"
    scan(inside / "here.nii.gz")
    for number, file in enumerate(("up", "deep/upper", "elsewhere/far"), start=1):
        scan(tmp_path / f"{file}{number}.nii.gz")
    paths = ["./here.nii.gz", "../upper2.nii.gz", "x/../../../up1.nii.gz", str(tmp_path / "elsewhere/far3.nii.gz")]
    (inside / "x").mkdir()
    rows = [f"{path}\t../../who{number}\t/etc/when" for number, path in enumerate(paths)]
    (inside / "t.tsv").write_text("\n".join(["path\tparticipant_id\tsession_id", *rows]))
    output = tmp_path / "deep" / "out"
    with nothing_changes(tmp_path, but=output):
        table = simulate(inside / "t.tsv", ["ad"], [0.3], output, Silent())
    written = {file.relative_to(output).as_posix() for file in output.rglob("*") if file.is_file()}
    assert written == {"simulated.tsv", *table["altered"], *table["reduction"], *table["mask"]}
    assert all("/" not in name for name in written)
    assert list(table["participant_id"]) == [f"../../who{number}" for number in range(4)], "it is told, and no more"


def test_simulate_follows_no_link_out_of_its_output(tmp_path: Path, outside: Path) -> None:
    scan(tmp_path / "in" / "sub" / "a.nii.gz")
    (tmp_path / "in" / "t.tsv").write_text("path\nsub/a.nii.gz\n")
    output = tmp_path / "out"
    output.mkdir()
    (output / "sub").symlink_to(outside)
    with nothing_changes(tmp_path, but=output), pytest.raises(InputError, match=r"leads out of .*; nothing is written"):
        simulate(tmp_path / "in" / "t.tsv", ["ad"], [0.3], output, Silent())


# --- cohorts


@pytest.mark.parametrize("column", ["participant_id", "session_id"])
@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_a_participant_does_not_decide_where_a_cohort_is_written(column: str, name: str, tmp_path: Path) -> None:
    """Whatever cohort it is of: plugins have their own readers."""
    cohort = Phantom(participants=1, patients=0)
    rows = cohort.participants.head(1).assign(**{column: name})
    tree = tmp_path / "deep" / "er" / "tree"
    with pytest.raises(InputError, match="valid folder name") as refused:
        export_caps(cohort, rows, tree, Silent())
    assert str(refused.value).isprintable() and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/x", "a/b", "..", "a\\b", "\x1b[2J", "a\u202eb", "me\u200b", "a\x9b2J", "x" * 300],
    ids=ascii,
)
@pytest.mark.parametrize("column", ["participant_id", "session_id"])
def test_a_table_has_no_such_ids(column: str, name: str, tmp_path: Path) -> None:
    row = {"participant_id": "a", "session_id": "M0", "path": "a.nii", "diagnosis": "CN", column: name}
    pd.DataFrame([row]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match="line 2: has the id") as refused:
        open_cohort(str(tmp_path / "t.csv"))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", [b"sub-\n1", b"sub-\xff", b"sub-\x1b[2J"])
def test_a_tree_has_no_such_folders(name: bytes, tmp_path: Path) -> None:
    file = tmp_path / scan_path("sub-1", "ses-M000")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    bad = tmp_path / "subjects" / name.decode("utf-8", "surrogateescape")
    shutil.move(tmp_path / "subjects" / "sub-1", bad)
    (tmp_path / "participants.tsv").write_text("participant_id\tdiagnosis\nsub-1\tCN\n")
    with pytest.raises(InputError, match="not valid ids") as refused:
        Caps(tmp_path)
    assert str(refused.value).isprintable()


def test_a_cohort_is_exported_through_no_link(tmp_path: Path, outside: Path) -> None:
    cohort = Phantom(participants=1, patients=0)
    tree = tmp_path / "tree"
    source = {"Name": "uadbench", "Cohort": cohort.name, "Version": cohort.version}
    write_json(tree / DESCRIPTION, {"GeneratedBy": [source]})
    (tree / "subjects").symlink_to(outside)
    with nothing_changes(tmp_path, but=tree), pytest.raises(InputError, match="leads out of"):
        export_caps(cohort, cohort.participants.head(1), tree, Silent())


# --- the exchange


@pytest.fixture
def export(fold_data, tmp_path: Path) -> Path:
    """The folder of an export that was begun by somebody else."""
    folder = tmp_path / "export"
    write_manifest(manifest_of(fold_data, "phantom", ".nii.gz"), folder)
    return folder


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_an_export_is_completed_through_no_link(part: str, fold_data, export: Path, outside: Path) -> None:
    (export / part).symlink_to(outside)
    with nothing_changes(export.parent, but=export), pytest.raises(InputError, match=f"{part}: leads out of"):
        export_testset(fold_data, manifest_of(fold_data, "phantom", ".nii.gz"), export, Silent())


def test_a_manifest_does_not_decide_what_is_read_or_written(export: Path, outside: Path) -> None:
    told = json.loads((export / "manifest.json").read_text())
    told["files"] = {f"test/{name}": "0" * 64 for name in ("../../outside/x.nii.gz", "/etc/x.nii.gz", "a\nb.nii.gz")}
    (export / "manifest.json").write_text(json.dumps(told))
    scan(export / "maps" / "x.nii.gz")
    with (
        nothing_changes(export.parent, but=export),
        pytest.raises(InputError, match="match no validation or test image") as refused,
    ):
        answered_run(export, "tool", Silent())
    assert str(refused.value).isprintable()


def test_an_answer_may_be_a_link_and_is_only_read(fold_data, outside: Path, tmp_path: Path) -> None:
    scan(outside / "a.nii.gz")
    (tmp_path / "export" / "maps").mkdir(parents=True)
    (tmp_path / "export" / "maps" / "a.nii.gz").symlink_to(outside / "a.nii.gz")
    with nothing_changes(tmp_path, but=tmp_path / "export"):
        answers = find_answers(tmp_path / "export", ["a"], fold_data.protocol.lattice, ".nii.gz")
        with pytest.raises(InputError, match="23 x 28 x 23 voxels"):
            answers.check(Silent())


# --- results


@pytest.fixture(scope="module")
def run(fold_data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder("mean", fold_data, tmp_path_factory)


@pytest.fixture
def given(run: Path, tmp_path: Path) -> Path:
    """A run folder that came from somebody else."""
    return Path(shutil.copytree(run, tmp_path / "given"))


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    content = json.loads((folder / RESULT).read_text())
    content.pop("seal", None)
    change(content)
    write_sealed(folder / RESULT, content)


def test_a_result_is_added_through_no_link(given: Path, outside: Path, tmp_path: Path) -> None:
    result = read_result(given)
    root = tmp_path / "leaderboard"
    (root / RESULTS / result_path(result).parts[0]).mkdir(parents=True)
    (root / RESULTS / result_path(result).parent.parent).symlink_to(outside)
    with nothing_changes(tmp_path, but=root), pytest.raises(InputError, match="leads out of"):
        committing.add(given, root)


def test_pages_are_built_and_removed_through_no_link(outside: Path, tmp_path: Path, capsys) -> None:
    """A pull request may bring a link; stale pages are removed."""
    root = tmp_path / "leaderboard"
    (root / RESULTS).mkdir(parents=True)
    (root / "models").symlink_to(outside)
    with nothing_changes(tmp_path, but=root), pytest.raises(SystemExit) as stopped:
        main(["leaderboard", "build", "--root", str(root)])
    assert stopped.value.code == 2 and "leads out of" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["report", "report/figures", "report/tables"])
def test_a_report_is_written_through_no_link(part: str, given: Path, outside: Path, tmp_path: Path, capsys) -> None:
    (given / part).parent.mkdir(exist_ok=True)
    (given / part).symlink_to(outside)
    with nothing_changes(tmp_path, but=given), pytest.raises(SystemExit) as stopped:
        main(["report", str(given), "--no-track"])
    assert stopped.value.code == 2 and "leads out of" in capsys.readouterr().err


def test_figures_are_drawn_through_no_link(given: Path, outside: Path, tmp_path: Path) -> None:
    """Those that `track` logs."""
    shutil.rmtree(given / "figures", ignore_errors=True)
    (given / "figures").symlink_to(outside)
    with nothing_changes(tmp_path, but=given), pytest.raises(InputError, match="leads out of"):
        draw_figures(read_result(given), given)


def renamed(content: dict, name: str) -> None:
    """Another name wherever a result has one."""
    content["model"]["name"] = content["cohort"]["name"] = name
    for scored in content["scores"]:
        if scored["severity"] is None:
            scored["anomaly"] = name


@pytest.mark.parametrize("name", ["../../x", "/etc/x"], ids=ascii)
def test_names_in_a_result_name_no_exhibit_and_no_file(name: str, given: Path, tmp_path: Path) -> None:
    edit(given, lambda content: renamed(content, name))
    result = read_result(given)
    assert all(exhibit.name.replace("-", "").isalnum() for exhibit in exhibits(result, read_scores(given), None))
    with nothing_changes(tmp_path, but=tmp_path / "shared"):
        share(given, tmp_path / "shared")
    assert {file.name for file in (tmp_path / "shared").rglob("*")} == {RESULT, SCORES}
    with nothing_changes(tmp_path, but=tmp_path / "board"), pytest.raises(InputError, match="invalid name"):
        committing.add(given, tmp_path / "board")
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize("name", ["../../mine", "/etc/mine", "mine.toml", "x" * 5000], ids=lambda n: ascii(n)[:20])
def test_a_result_chooses_no_protocol_file(name: str, given: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("UADBENCH_SALTS", str(tmp_path / "salts"))
    (given / "protocol.json").unlink()
    edit(given, lambda content: (content["protocol"].update(name=name), content["cohort"].update(public=False)))
    with pytest.raises(InputError, match=r"has no protocol\.json, and no protocol is called") as refused:
        share(given, tmp_path / "shared")
    assert str(refused.value).isprintable() and not (tmp_path / "shared").exists()


# --- the rule itself


def test_a_place_inside_may_be_reached_by_any_way(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "home")
    (tmp_path / "home" / "loop").symlink_to(tmp_path / "home" / "loop")
    require_inside(tmp_path / "way", tmp_path / "home" / "new" / "x", tmp_path / "way" / "x")
    require_inside(tmp_path / "home", tmp_path / "home" / "loop" / "x")
    for target in (tmp_path / "home" / ".." / "x", outside / "x", tmp_path / "home2" / "x"):
        with pytest.raises(InputError, match="leads out of"):
            require_inside(tmp_path / "home", target)
