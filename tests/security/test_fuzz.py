"""Whatever is in a file, its reader reads it, or refuses it in one line: no other exception, no hang, no gigabytes.

`UADBENCH_FUZZ_EXAMPLES=3000 pytest tests/security/test_fuzz.py -m ""` tries more; the same number tries the same files.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from tests.security import mutations
from tests.security.limits import GIB, STEPS, Hang, address_space, processor_time
from uadbench.cohorts.caps import Caps
from uadbench.cohorts.io.export import scan_path
from uadbench.cohorts.io.nifti import read_volume
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.splits.listed import FORMAT, VERSION, read_split
from uadbench.errors import InputError
from uadbench.exchange.manifest import MANIFEST, manifest_of, read_manifest
from uadbench.leaderboard.entries import read_untrusted
from uadbench.models.weights_file import find_weights, load_given
from uadbench.models.zscore import ZScore
from uadbench.protocols.schema import FOLDER, STORED, load_protocol, protocol_names, stored_protocol
from uadbench.results.examples import EXAMPLES as EXAMPLES_FILE
from uadbench.results.examples import Examples, read_examples, write_examples
from uadbench.results.schema import RESULT, read_result
from uadbench.results.scores import SCORES, TEXTS, read_scores, score_hash, write_table
from uadbench.runtime.files import write_sealed
from uadbench.runtime.progress import Silent
from uadbench.simulation.files import _inputs
from uadbench.testing import SMALL

pytestmark = pytest.mark.nightly

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("UADBENCH_FUZZ_EXAMPLES", "60"))

bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,  # of the clock; processor time is limited below
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", autouse=True)
def two_gigabytes() -> Iterator[None]:
    """What a reader would map beyond that raises MemoryError, which is not an InputError."""
    with address_space():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def read_or_refuse(read: Callable[[], Any]) -> None:
    try:
        with processor_time():
            read()
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) <= 2000
        assert "do not fit in memory" not in str(error)


def test_the_limits_hold() -> None:
    with pytest.raises(MemoryError):
        bytearray(4 * GIB)
    with pytest.raises(Hang), processor_time(STEPS / 100):
        while True:
            pass


# --- NIfTI


def image(version: int, dtype: type = np.float32) -> Any:
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    data = np.arange(60).reshape(3, 4, 5).astype(dtype)
    return kind(data, np.array([[-2.0, 0, 0.1, 8], [0, 2, 0, -9], [0.1, 0, 2, 7], [0, 0, 0, 1]]))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_nifti(version: int, ending: str, folder: Path) -> None:
    sound = image(version)
    fields = {name: field[:2] for name, field in sound.header.template_dtype.fields.items()}
    file = folder / f"scan{ending}"

    @bounded
    @given(raw=mutations.nifti(sound.to_bytes(), fields, ending == ".nii.gz"), nan=st.sampled_from(["refuse", "zero"]))
    def fuzz(raw: bytes, nan: Any) -> None:
        file.write_bytes(raw)
        read_or_refuse(lambda: read_volume(file, nan))

    fuzz()


# --- tables

TABLE = (
    "participant_id\tsession_id\tpath\tdiagnosis\tage\tsex\tsite\tmmse\n"
    "sub-1\tses-M000\ta.nii\tCN\t65.5\tF\tA\t30\nsub-1\tses-M012\tb.nii\tCN\tn/a\tF\tA\t29\nsub-2\tM00\tc.nii\tAD\t70\tM\t\t20\n"
)


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
def test_table(ending: str, folder: Path) -> None:
    file = folder / f"table{ending}"

    def read() -> None:
        cohort = open_cohort(str(file))
        cohort.scan_keys(cohort.participants)

    @bounded
    @given(raw=mutations.tables(TABLE))
    def fuzz(raw: bytes) -> None:
        file.write_bytes(raw if ending == ".tsv" else raw.replace(b"\t", b","))
        read_or_refuse(read)
        read_or_refuse(lambda: _inputs(file, Silent()))

    fuzz()


@pytest.mark.parametrize("name", ["participants.tsv", "sessions.tsv", "subjects/sub-1/sub-1_sessions.tsv"])
def test_caps(name: str, folder: Path) -> None:
    tree = folder / f"tree-{name.replace('/', '-')}"
    for participant, session in (("sub-1", "ses-M000"), ("sub-1", "ses-M012"), ("sub-2", "ses-M000")):
        (tree / scan_path(participant, session)).parent.mkdir(parents=True)
        (tree / scan_path(participant, session)).touch()
    if name != "participants.tsv":
        (tree / "participants.tsv").write_text("participant_id\tdiagnosis\tage_bl\nsub-1\tCN\t60\nsub-2\tAD\t70\n")

    @bounded
    @given(raw=mutations.tables(TABLE))
    def fuzz(raw: bytes) -> None:
        (tree / name).write_bytes(raw)
        read_or_refuse(lambda: Caps(tree))

    fuzz()


# --- protocols


@pytest.mark.parametrize("name", protocol_names())
def test_protocol(name: str, folder: Path) -> None:
    file = folder / "mine.toml"

    @bounded
    @given(raw=mutations.protocols((FOLDER / f"{name}.toml").read_text(encoding="utf-8")))
    def fuzz(raw: bytes) -> None:
        file.write_bytes(raw)
        read_or_refuse(lambda: load_protocol(str(file)).hash)

    fuzz()


def test_stored_protocol(folder: Path) -> None:
    sound = load_protocol("smoke").model_dump(mode="json")

    @bounded
    @given(raw=mutations.documents(sound))
    def fuzz(raw: bytes) -> None:
        (folder / STORED).write_bytes(raw)
        read_or_refuse(lambda: stored_protocol(folder, "smoke").hash)

    fuzz()


# --- results


def test_result(folder: Path) -> None:
    committed = sorted((REPOSITORY / "leaderboard" / "results").rglob("*.json"))[0]
    sound = json.loads(committed.read_text(encoding="utf-8"))
    sound["scores"] = sound["scores"][:2]
    write_sealed(folder / RESULT, sound)
    assert read_result(folder).scores
    sound["scores"] = [{**scored, "metrics": dict(list(scored["metrics"].items())[:2])} for scored in sound["scores"]]

    @bounded
    @given(raw=mutations.documents(sound))
    def fuzz(raw: bytes) -> None:
        (folder / RESULT).write_bytes(raw)
        (folder / "committed.json").write_bytes(raw)
        read_or_refuse(lambda: read_result(folder))
        read_or_refuse(lambda: read_untrusted(folder / "committed.json"))

    fuzz()


@pytest.mark.parametrize("compression", ["zstd", "none", "as written"])
def test_scores(compression: str, folder: Path) -> None:
    """Damage in the pages, their headers, the footer and its schemas."""
    rows = {name: ["a", "b", "a"] for name in TEXTS} | {name: [0.1, 0.2, float("nan")] for name in ("severity", "mmse")}
    file, plain = folder / SCORES, pd.DataFrame(rows | {"ap.standard": [0.5, 0.25, 1.0]})
    if compression == "as written":
        write_table(plain, file)
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pandas(plain), file, compression=compression)
    assert len(read_scores(folder)) == 3
    sound = file.read_bytes()

    @bounded
    @given(raw=mutations.damaged(sound))
    def fuzz(raw: bytes) -> None:
        file.write_bytes(raw)
        read_or_refuse(lambda: score_hash(read_scores(folder)))

    fuzz()


def test_pictures(folder: Path) -> None:
    file = folder / EXAMPLES_FILE
    volumes = {"case": {"healthy": np.ones((2, 3, 4), np.float32)}}
    write_examples(Examples(volumes, {"case": "AD"}, np.eye(4), np.ones((2, 3, 4), bool)), file)
    sound = file.read_bytes()
    with np.load(file) as stored:
        members = {name: stored[name] for name in stored.files}

    @bounded
    @given(raw=mutations.damaged(sound), member=st.sampled_from(sorted(members)), within=st.data())
    def fuzz(raw: bytes, member: str, within: st.DataObject) -> None:
        file.write_bytes(raw)
        read_or_refuse(lambda: read_examples(file))
        with zipfile.ZipFile(file, "w") as archive:  # damage that no checksum of the archive finds
            for name, array in members.items():
                plain = io.BytesIO()
                np.save(plain, array)
                content = plain.getvalue()
                archive.writestr(f"{name}.npy", within.draw(mutations.damaged(content)) if name == member else content)
        read_or_refuse(lambda: read_examples(file))

    fuzz()


# --- splits


def test_split(folder: Path) -> None:
    fold = {"train": [["c", "M0"], ["c", "M12"]], "first": [["c", "M0"]], "validation": [["d", "M0"]]}
    sound = {FORMAT: VERSION, "source": "x", "test": [["a", "M0"], ["b", "ses-M000"]], "folds": [fold, fold]}

    @bounded
    @given(raw=mutations.documents(sound))
    def fuzz(raw: bytes) -> None:
        (folder / "split.json").write_bytes(raw)
        read_or_refuse(lambda: read_split(folder / "split.json"))

    fuzz()


@pytest.mark.parametrize("part", ["train", "train_baseline", "validation_baseline", "test_baseline"])
def test_clinicadls_split(part: str, folder: Path) -> None:
    split = folder / f"split-{part}"
    fold = split / "5_fold" / "split-0"
    fold.mkdir(parents=True)
    parts = ("train", "train_baseline", "validation_baseline", "test_baseline")
    files = {name: (split if name.startswith("test") else fold) / f"{name}.tsv" for name in parts}
    for number, file in enumerate(files.values()):
        file.write_text(f"participant_id\tsession_id\tdiagnosis\nsub-{max(number, 1)}\tses-M000\tCN\n")
    assert read_split(split).folds

    @bounded
    @given(raw=mutations.tables(TABLE))
    def fuzz(raw: bytes) -> None:
        files[part].write_bytes(raw)
        read_or_refuse(lambda: read_split(split))

    fuzz()


# --- the exchange, and weights


def test_manifest(fold_data, folder: Path) -> None:
    made = manifest_of(fold_data, "phantom", ".nii.gz").model_copy(update={"files": {"test/a.nii.gz": "0" * 64}})
    sound = made.model_dump(mode="json")

    @bounded
    @given(raw=mutations.documents(sound))
    def fuzz(raw: bytes) -> None:
        (folder / MANIFEST).write_bytes(raw)
        read_or_refuse(lambda: read_manifest(folder))

    fuzz()


def test_weights(folder: Path) -> None:
    model = ZScore(SMALL)
    sound = save({name: value.contiguous() for name, value in model.state_dict().items()})
    file = folder / "theirs.safetensors"

    @bounded
    @given(raw=mutations.damaged(sound))
    def fuzz(raw: bytes) -> None:
        file.write_bytes(raw)
        read_or_refuse(lambda: load_given(model, find_weights(file)))

    fuzz()
