"""Private stays private: what leaves is matched against a list of all candidates, with public code and no secret."""

from __future__ import annotations

import getpass
import json
import platform
import re
import shutil
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits.listed import Fold, GivenSplit
from uadbench.cohorts.splits.split import baseline, split_participants
from uadbench.exchange.inputs import shown_scans
from uadbench.exchange.manifest import manifest_of
from uadbench.leaderboard.committing import add, generated
from uadbench.leaderboard.expected import expected_values
from uadbench.protocols.schema import load_protocol
from uadbench.report.figures import draw_figures
from uadbench.report.page import write_report
from uadbench.results.anonymise import share, share_aggregates
from uadbench.results.examples import EXAMPLES
from uadbench.results.schema import read_result
from uadbench.results.scores import KEYS, SCORES, read_scores
from uadbench.runs.fold_data import FoldData, Selection, plan_fold
from uadbench.runs.keys import Run
from uadbench.runs.run import complete
from uadbench.runtime.files import content_hash
from uadbench.runtime.progress import Silent
from uadbench.simulation.testset import draw
from uadbench.tracking import Tracker, _client, title_of
from uadbench.types import VARIED, Scan

pytestmark = pytest.mark.slow

PROTOCOL = load_protocol("smoke")
CPU = torch.device("cpu")
SESSION = "ses-20150317"
SITES = ("Paris-Salpetriere", "Rouen")
HEALTHY, ILL = 14, 2  # one patient of each diagnosis
CANDIDATES = tuple(f"sub-ADNI{number:03d}S{4000 + number}" for number in range(1, 402))
"""Everybody who may be among the tested, as anyone with access to a study can list them."""
NAMES = CANDIDATES[10:400:19][: HEALTHY + ILL]
OTHERS = CANDIDATES[11:400:19][: HEALTHY + ILL]
USER, MACHINE = "somebody-in-the-lab", "scanner-room-7"
HASH = re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{8,64}(?![0-9a-zA-Z])")


# --- a lab, and all that leaves it


@cache
def people() -> list[Scan]:
    phantom = Phantom(participants=HEALTHY, patients=ILL // 2)
    return list(phantom.scans(PROTOCOL.lattice, baseline(phantom.participants)))


def written(folder: Path, names: tuple[str, ...]) -> Path:
    """A table of scans on the protocol's grid: always the same scans in the same order, under these names."""
    folder.mkdir(parents=True)
    lines = ["participant_id\tsession_id\tpath\tdiagnosis\tage\tsex\tsite\tmmse"]
    for number, scan in enumerate(people()):
        nibabel.save(nibabel.Nifti1Image(scan.data, scan.affine), folder / f"{number}.nii")
        about = (scan.group, scan.age, scan.sex, SITES[number % 2], scan.mmse)
        lines.append("\t".join(map(str, (names[number], SESSION, f"{number}.nii", *about))))
    (folder / "scans.tsv").write_text("\n".join(lines))
    return folder / "scans.tsv"


def planned(table: Path, names: tuple[str, ...]) -> FoldData:
    """The same four scans train, four validate and six test, whatever they are called."""
    keys = [(name, SESSION) for name in names]
    fold = Fold(tuple(keys[:4]), tuple(keys[:4]), tuple(keys[4:8]))
    split = GivenSplit("split", tuple(keys[8:]), (fold,))
    return plan_fold(open_cohort(str(table)), PROTOCOL, 0, Silent(), Selection(split=split))


@dataclass(frozen=True)
class Lab:
    """A lab that has run a model on its private cohort; `left` holds all that has left it since."""

    names: tuple[str, ...]
    fold_data: FoldData
    run: Path
    left: Path

    @property
    def aliases(self) -> dict[str, str]:
        """Who is who, which the lab alone can tell."""
        return {name: self.fold_data.secret("test").participant(name) for name in self.names}


def lab(home: Path, names: tuple[str, ...], secret: str, database: Path) -> Lab:
    """Run a model, and write everything that `share`, `leaderboard`, MLflow and `report` write."""
    (home / "salts").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UADBENCH_SALTS", str(home / "salts"))
        for variable in ("LOGNAME", "USER"):
            patch.setenv(variable, USER)
        patch.setattr(socket, "gethostname", lambda: MACHINE)
        patch.setattr(platform, "node", lambda: MACHINE)
        table = written(home / "lab", names)
        identity = open_cohort(str(table)).identity  # type: ignore[attr-defined]
        (home / "salts" / f"{identity}.salt").write_text(secret * 32)
        fold_data = planned(table, names)
        assert fold_data.secret("test").value
        run = complete(Run("mean", fold_data, 0), home / "runs", CPU, Silent()).folder
        (run / EXAMPLES).unlink()  # pictures of brains take a report most of its time
        left, result = home / "left", read_result(run)
        share(run, left / "shared")
        share(run, left / "rounded", digits=3)
        share_aggregates(run, left / "aggregates")
        add(run, left / "board")
        for file, text in generated(left / "board")[1].items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        draw_figures(result, run)
        shutil.copy(database, left / "mlflow.db")
        tracker = Tracker(f"sqlite:///{left / 'mlflow.db'}", title_of(["mean"], "smoke"), left)
        tracker.log(result, run)
        tracker.close()
        write_report(result, read_scores(run), run, left / "report", Silent())
    return Lab(names, fold_data, run, left)


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lab]:
    """Three labs with the same scans: one; one whose ids go round and whose secret is another; one with other ids.

    Ids go round within sites, so that what is known of a person stays with the id.
    """
    turned = tuple(np.roll(NAMES[8:HEALTHY], 2))
    home = tmp_path_factory.mktemp("labs")
    _client(f"sqlite:///{home / 'empty.db'}")  # makes its tables, which takes MLflow long
    return {
        "first": lab(home / "a", NAMES, "5a", home / "empty.db"),
        "turned": lab(home / "b", (*NAMES[:8], *turned, *NAMES[HEALTHY:]), "c3", home / "empty.db"),
        "others": lab(home / "c", OTHERS, "5a", home / "empty.db"),
    }


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file below a folder by its name, as text: tables and databases unpacked."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        yield name, name
        if file.suffix == ".parquet":
            yield name, pd.read_parquet(file).to_csv()
        elif file.suffix == ".db":
            with closing(sqlite3.connect(file)) as database:
                yield name, "\n".join(database.iterdump())
        else:
            yield name, file.read_bytes().decode("latin-1")


# --- the attack


def named(table: pd.DataFrame) -> Mapping[str, str]:
    """Who is who in shared scores, by the severities that public code draws for each of the 401 candidates."""
    drawn = {first_severities(name): name for name in CANDIDATES} | {severities(name): name for name in NAMES}
    varied = table[table["anomaly"] == VARIED]
    seen = {str(who): tuple(sorted(rows.round(6))) for who, rows in varied.groupby("participant_id")["severity"]}
    return {who: drawn[found] for who, found in seen.items() if found in drawn}


@cache
def first_severities(name: str) -> tuple[float, ...]:
    """The same as `severities`, a thousand times faster: no mask is made, so none that is too small is drawn again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uadbench.simulation.varied._soft", lambda _: np.ones((1, 1, 1)))
        return severities.__wrapped__(name)


@cache
def severities(name: str) -> tuple[float, ...]:
    """What public code draws for an id; blobs, which take long, are not looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uadbench.simulation.testset.blobs.draw_blob", lambda *_: None)
        return tuple(sorted(round(each.severity, 6) for each in draw(PROTOCOL, (name, SESSION)).variations))


def test_a_list_of_candidates_names_nobody(labs: dict[str, Lab]) -> None:
    """As the attack goes that named everybody in results of schema version 3: it does where draws follow from ids."""
    names = {alias: name for name, alias in labs["first"].aliases.items()}
    for table in (read_scores(labs["first"].left / "shared"), board_of(labs["first"])):
        assert named(table) == {}, "of 401 candidates, for 6 tested people, chance names one in one of 3,000 labs"
        varied = table[table["anomaly"] == VARIED].sort_values(["participant_id", "severity"])
        drawn = [each for who in varied["participant_id"].unique() for each in severities(names[who])]
        found = named(varied.assign(severity=drawn))
        assert found == {who: names[who] for who in found} and len(found) == 6, "this would name them"
    same = [first_severities(name) == severities(name) for name in NAMES]
    assert sum(same) > len(NAMES) / 2, "the fast draws are those of most candidates"


def board_of(lab: Lab) -> pd.DataFrame:
    (file,) = (lab.left / "board").rglob("*.parquet")
    return pd.read_parquet(file)


def test_expected_values_of_candidates_are_not_in_the_scores(labs: dict[str, Lab]) -> None:
    """Severity, prevalence and reduction of what public code draws for ids that were in truth tested."""
    tested = labs["first"].names[8:HEALTHY]
    drawn = expected_values(PROTOCOL, tuple((name, SESSION) for name in tested[:2]))
    drawn = drawn[drawn["anomaly"].isin(["unseen", VARIED])]
    shared = read_scores(labs["first"].left / "shared")
    for column in ("severity", "prevalence", "effective_reduction"):
        fixed = {*PROTOCOL.testsets.severities, 0.0, 1.0}
        own = {f"{value:.6g}" for value in drawn[column]} - {f"{value:.6g}" for value in fixed}
        assert own and not own & {f"{value:.6g}" for value in shared[column].dropna()}, column


# --- whatever is there


def holds(text: str, word: str) -> bool:
    """Whether a word is in a text, and not in the middle of the letters of an encoded picture."""
    return word in text and bool(re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", text))


@pytest.mark.parametrize("which", ["first", "turned", "others"])
def test_no_id_no_path_no_machine_is_in_what_leaves(which: str, labs: dict[str, Lab]) -> None:
    lab = labs[which]
    bare = {name.removeprefix("sub-") for name in CANDIDATES}
    home = lab.left.parent
    words = bare | {SESSION, *SITES, str(home / "lab"), str(home / "runs"), str(home / "salts"), "scans.tsv"}
    machine = {USER, MACHINE, str(Path.home()), str(home)}
    machine |= {word for word in (socket.gethostname(), getpass.getuser()) if len(word) > 4}
    inside = {}
    for file, text in texts(lab.left):
        # a database says where its own artifacts lie, and where it was made
        rest = text.replace(str(lab.left), "").replace(str(Path.cwd()), "")
        found = {word for word in words | machine if holds(rest, word)}
        if found:
            inside[file] = found
    assert inside == {}
    assert any(name in text for _, text in texts(lab.run) for name in lab.names), "this looks for them well"


def test_no_hash_of_ids_is_in_what_leaves(labs: dict[str, Lab]) -> None:
    """A hash that stays when secret and order change, and changes with the ids, can be tried out for other ids."""
    hashes = {which: {found for _, text in texts(lab.left) for found in hashes_in(text)} for which, lab in labs.items()}
    assert hashes["first"] & hashes["turned"] - hashes["others"] == set()
    assert hashes["first"] - hashes["turned"], "what depends on the ids is there, with another secret another one"
    keys = [[name, SESSION] for name in sorted(NAMES)]
    assert content_hash([tuple(key) for key in keys])[:8] in str(labs["first"].fold_data.cohort.identity)  # type: ignore[attr-defined]
    assert not any(content_hash(keys)[:8] in text for _, text in texts(labs["first"].left))


def hashes_in(text: str) -> set[str]:
    """Hexadecimal words; digits with at most an exponent are numbers."""
    return {found for found in HASH.findall(text) if len({*found} & {*"abcdef"}) > 1}


Values = Mapping[str, tuple[str, ...]]
"""Of a column, by id: those of all its cases."""


def columns(lab: Lab, table: pd.DataFrame) -> dict[str, Values]:
    """Column -> id -> its values, in the order of its cases."""
    ordered = table.sort_values(list(KEYS), kind="stable")
    names = {alias: name for name, alias in lab.aliases.items()}
    groups = {names[str(who)]: rows for who, rows in ordered.groupby("participant_id")}
    return {
        str(column): {name: tuple(map(_spelled, rows[column])) for name, rows in groups.items()}
        for column in ordered.columns
    }


def _spelled(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def follows_ids(first: Values, turned: Values) -> bool:
    """Whether a column stays with the ids, though their scans and the secret are others.

    A constant stays with anybody, and what is measured on a scan goes where the scan goes: so agreement under the true
    assignment is compared with that under all that go round.
    """
    tested = NAMES[8:HEALTHY]

    def agreeing(shift: int) -> int:
        moved = (*tested[shift:], *tested[:shift])
        return sum(first[name] == turned[other] for name, other in zip(tested, moved, strict=True))

    return agreeing(0) > max(agreeing(shift) for shift in range(1, len(tested)))


@pytest.mark.parametrize("source", ["shared", "rounded", "board"])
def test_no_column_follows_the_ids(source: str, labs: dict[str, Lab]) -> None:
    """Whatever is in the scores, or comes into them later, is no function of an id and public code."""
    first, turned = (
        columns(lab, board_of(lab) if source == "board" else read_scores(lab.left / source))
        for lab in (labs["first"], labs["turned"])
    )
    assert set(first) == set(turned) and len(first) > 20
    assert [column for column in first if follows_ids(first[column], turned[column])] == []


def test_a_column_that_follows_the_ids_is_found(labs: dict[str, Lab]) -> None:
    """The test before sees what version 3 had: a severity drawn from the id."""
    found = []
    for lab in (labs["first"], labs["turned"]):
        table = read_scores(lab.left / "shared")
        drawn = {alias: severities(name)[0] for name, alias in lab.aliases.items()}
        varied = table[table["anomaly"] == VARIED]
        found.append(columns(lab, varied.assign(leak=varied["participant_id"].map(drawn)))["leak"])
    assert follows_ids(*found)


def test_rows_are_in_the_order_of_the_hashes(labs: dict[str, Lab]) -> None:
    for table in (read_scores(labs["first"].left / "shared"), board_of(labs["first"])):
        for _, rows in table.groupby("anomaly"):
            order = list(dict.fromkeys(rows["participant_id"]))
            assert order == sorted(order)


def test_nobody_else_can_make_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who tests under a protocol does not follow from ids, ages and sexes; two labs with one secret agree."""
    splits, told = [], []
    for number, secret in enumerate(("5a", "c3", "5a")):
        monkeypatch.setenv("UADBENCH_SALTS", str(tmp_path / f"salts{number}"))
        table = open_cohort(str(tables(tmp_path / f"lab{number}")))
        (tmp_path / f"salts{number}").mkdir()
        (tmp_path / f"salts{number}" / f"{table.identity}.salt").write_text(secret * 32)  # type: ignore[attr-defined]
        splits.append(plan_fold(table, PROTOCOL, 0))
        told.append((table.name, splits[-1].testset_recipe, splits[-1].split_digest))
    first, second, again = splits
    assert told[0] == told[2] and not {*told[0]} & {*told[1]}
    assert first.split == again.split != second.split
    section = PROTOCOL.split
    sizes = {"train": section.train, "validation": section.validation, "test": section.test}
    healthy = first.roles.healthy_rows(first.cohort.participants)
    public = split_participants(healthy, **sizes, folds=section.folds, fold=0, seed=section.seed)
    everybody = len({*healthy["participant_id"]})
    chance = len(public.test) ** 2 / everybody
    assert len({*public.test} & {*first.split.test}) < chance + 4 * np.sqrt(chance) < len(public.test)


def tables(folder: Path, people: int = 200) -> Path:
    """A table of people, whose scans nobody reads."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["participant_id\tsession_id\tpath\tdiagnosis\tage\tsex"]
    for name in CANDIDATES[:people]:
        (folder / f"{name}.nii.gz").touch()
        lines.append(f"{name}\t{SESSION}\t{name}.nii.gz\tCN\t{rng.uniform(55, 90):.1f}\t{'FM'[rng.integers(2)]}")
    (folder / "scans.tsv").write_text("\n".join(lines))
    return folder / "scans.tsv"


# --- aggregates


def test_aggregates_hold_no_case(labs: dict[str, Lab]) -> None:
    """No number in them is that of one person, of a test set of two patients, or of a validation scan's threshold."""
    left = labs["first"].left
    assert [file.name for file in (left / "aggregates").iterdir()] == ["aggregates.json"]
    told = json.loads((left / "aggregates" / "aggregates.json").read_text())
    result, table = read_result(left / "shared"), read_scores(left / "shared")
    assert told["headline"] == result.model_dump(mode="json")["headline"] and "score_hash" not in told
    people = table.groupby("anomaly")["participant_id"].nunique()
    assert {each["anomaly"] for each in told["scores"]} == set(people.index[people >= 5]) - {"validation"}
    assert "patients" not in people.index[people >= 5]
    assert told["detection"]["threshold"] is None and told["detection"]["clinical"]["value"] is None
    assert all(each["participants"] >= 5 for each in told["strata"])


def test_rounded_scores_are_sound(labs: dict[str, Lab], tmp_path: Path) -> None:
    """To three digits, and every aggregate is that of the rounded scores: the board takes them."""
    folder = shutil.copytree(labs["first"].left / "rounded", tmp_path / "rounded")
    table = read_scores(folder)
    values = table["subject.score"].to_numpy()
    assert np.array_equal(values, [float(f"{value:.3g}") for value in values])
    assert len(add(folder, tmp_path / "board").scores()) == len(table)
    assert (folder / SCORES).is_file()


# --- exports


def test_an_export_tells_no_folder_and_no_id(labs: dict[str, Lab]) -> None:
    """Its files are called otherwise by every secret, and nothing says where the cohort lies."""
    names = []
    for which in ("first", "turned"):
        fold_data = labs[which].fold_data
        told = manifest_of(fold_data, str(labs[which].left.parent / "lab" / "scans.tsv"), ".nii").model_dump_json()
        assert str(labs[which].left.parent) not in told and "scans.tsv" not in told
        names.append({name for shown in shown_scans(fold_data, "train") for name in shown.names})
    assert len(names[0]) == len(names[1]) == 4 and not names[0] & names[1]
