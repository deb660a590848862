"""One small cohort as a CAPS tree in every naming that Clinica and ClinicaDL have left: all give the same scans."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from uadbench.cohorts.base import COLUMNS
from uadbench.cohorts.caps import Caps
from uadbench.cohorts.io.export import CAPS_GRID, export_caps
from uadbench.cohorts.io.forms import mni
from uadbench.cohorts.io.nifti import write_volume
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.errors import InputError
from uadbench.protocols.schema import load_protocol
from uadbench.runtime.progress import Silent
from uadbench.simulation.testset import SimulatedCases
from uadbench.space import atlas
from uadbench.types import Grid

PAPER = Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0))
DECIMATED = np.s_[4:164:2, 8:200:2, 8:168:2]
WHOLE = Grid((193, 229, 193), 1.0, (-96.0, -132.0, -78.0))
"""MNI152NLin2009cSym at 1 mm, before it is cropped."""

SOURCES = (
    "trc-18FFDG",
    "trc-18FFDG_rec-coregiso",
    "trc-18FFDG_rec-coregavg",
    "trc-18FFDG_rec-uniform",
    "trc-18FFDG_pet",
    "trc-18FFDG_rec-uniform_pet",
    "task-rest_acq-fdg_pet",
)
KEYS = [("sub-P0001", "ses-M000"), ("sub-P0001", "ses-M024"), ("sub-Q0001", "ses-M000")]

Key = tuple[str, str]


@dataclass(frozen=True)
class Variant:
    """How a tree spells what is the same in all."""

    source: str = "trc-18FFDG"
    folder: str = "pet_linear"
    digits: int = 3
    suffix: str = ".nii.gz"
    space: str = "_desc-Crop"
    tables: str = "both"
    age: str = "age"

    def session(self, session: str) -> str:
        return f"ses-M{int(session[5:]):0{self.digits}d}"

    def path(self, participant: str, session: str) -> Path:
        visit = self.session(session)
        space = f"space-MNI152NLin2009cSym{self.space}_res-1x1x1_suvr-cerebellumPons2_pet{self.suffix}"
        return Path("subjects", participant, visit, self.folder, f"{participant}_{visit}_{self.source}_{space}")


USUAL = Variant()
VARIANTS = {
    "usual": USUAL,
    **{source: Variant(source=source) for source in SOURCES[1:]},
    "pet-linear": Variant(folder="pet-linear"),
    "M0": Variant(digits=1),
    "M00": Variant(digits=2),
    "unpacked": Variant(suffix=".nii"),
    "whole": Variant(space=""),
    "whole, unpacked": Variant(space="", suffix=".nii"),
    "oldest": Variant("trc-18FFDG_rec-uniform_pet", "pet-linear", 2, ".nii", "", "participants", "age_bl"),
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom(participants=1, patients=1, recipe=2)


@pytest.fixture(scope="module")
def files(phantom, tmp_path_factory) -> dict[tuple[Key, str, str], Path]:
    """(key, space, suffix) -> a file at 1 mm: the export itself, and what it is in other containers."""
    folder = tmp_path_factory.mktemp("variants")
    table = phantom.participants
    rows = table[[key in KEYS for key in zip(table.participant_id, table.session_id, strict=True)]]
    export_caps(phantom, rows, folder / "export", Silent())
    found = {}
    for key in KEYS:
        cropped = folder / "export" / USUAL.path(*key)
        data = spiked(np.asarray(nibabel.load(cropped).dataobj))
        write_volume(cropped, data, mni(CAPS_GRID.affine))
        places = {("_desc-Crop", ".nii"): (data, CAPS_GRID), ("", ".nii.gz"): (uncropped(data), WHOLE)}
        places["", ".nii"] = places["", ".nii.gz"]
        found[key, "_desc-Crop", ".nii.gz"] = cropped
        for number, ((space, suffix), (volume, grid)) in enumerate(places.items()):
            file = folder / f"{key[0]}{key[1]}{number}{suffix}"
            if suffix == ".nii":
                nibabel.save(nibabel.Nifti1Image(volume, grid.affine), file)
            else:
                write_volume(file, volume, mni(grid.affine))
            found[key, space, suffix] = file
    return found


def spiked(data: np.ndarray) -> np.ndarray:
    """With its least and its largest voxel where decimation never looks; rounded, so that it packs quickly."""
    assert data.shape == CAPS_GRID.shape
    data = np.round(data * np.float32(256)) / np.float32(256)
    data[81, 101, 89], data[5, 9, 9] = 4.0, -0.25
    return data


def uncropped(data: np.ndarray) -> np.ndarray:
    """The same voxels in the whole lattice; what was cut away is brighter than the brain, as a nose may be."""
    before = [round(inner - outer) for inner, outer in zip(CAPS_GRID.origin, WHOLE.origin, strict=True)]
    after = [outer - inner - low for outer, inner, low in zip(WHOLE.shape, data.shape, before, strict=True)]
    assert before == [12, 13, 0] and min(after) >= 0
    padded = np.pad(data, list(zip(before, after, strict=True)))
    padded[:5, :5, -5:] = 9.0
    return padded


def facts(phantom: Phantom) -> pd.DataFrame:
    """What the trees' tables tell: who, ill or not, how old, which sex."""
    table = phantom.participants
    return table[[key in KEYS for key in zip(table.participant_id, table.session_id, strict=True)]][list(COLUMNS[:5])]


def build(tree: Path, variant: Variant, files: dict, phantom: Phantom) -> Path:
    for key in KEYS:
        link(files[key, variant.space, variant.suffix], tree / variant.path(*key))
    write_tables(tree, variant, facts(phantom))
    return tree


def link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(file, target)


def write_tables(tree: Path, variant: Variant, known: pd.DataFrame) -> None:
    """participants.tsv tells what was so at baseline; in sessions.tsv `age_bl` stays what it was."""
    sessions = known.assign(session_id=known.session_id.map(variant.session)).rename(columns={"group": "diagnosis"})
    first = sessions.drop_duplicates("participant_id")
    if variant.age == "age_bl":
        sessions = sessions.assign(age=sessions.participant_id.map(first.set_index("participant_id").age))
    for name, table in (("participants", first.drop(columns="session_id")), ("sessions", sessions)):
        if variant.tables in (name, "both"):
            table.rename(columns={"age": variant.age}).to_csv(tree / f"{name}.tsv", sep="\t", index=False)


def same_people(cohort: Caps, phantom: Phantom) -> None:
    expected = facts(phantom).reset_index(drop=True)
    pd.testing.assert_frame_equal(cohort.participants[list(COLUMNS[:5])], expected, check_exact=True)
    assert tuple(cohort.participants.columns) == COLUMNS
    assert set(cohort.participants[["site", "scanner", "amyloid"]].to_numpy().ravel()) == {""}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_naming_gives_the_same_scans(name, files, phantom, tmp_path):
    variant = VARIANTS[name]
    caps = Caps(build(tmp_path, variant, files, phantom))
    same_people(caps, phantom)
    for key, scan in zip(KEYS, caps.scans(PAPER, caps.participants), strict=True):
        volume = np.asarray(nibabel.load(files[key, "_desc-Crop", ".nii"]).dataobj)
        assert scan.key == key and scan.data.dtype == np.float32
        np.testing.assert_array_equal(scan.data, volume[DECIMATED])
        assert scan.extent == (-0.25, 4.0 if variant.space else 9.0), "of the file, not of what the grid sees"


def test_every_combination_names_the_same_people(files, phantom, tmp_path):
    names = set()
    for number, words in enumerate(product(SOURCES, ("pet_linear", "pet-linear"), (1, 2, 3))):
        tree = tmp_path / str(number)
        for key in KEYS:
            link(files[key, "_desc-Crop", ".nii.gz"], tree / Variant(*words).path(*key))
        for tables, age in product(("participants", "sessions", "both"), ("age", "age_bl")):
            for file in tree.glob("*.tsv"):
                file.unlink()
            write_tables(tree, Variant(*words, tables=tables, age=age), facts(phantom))
            caps = Caps(tree)
            same_people(caps, phantom)
            names.add(caps.name)
    assert number == 41 and len(names) == 1, "the name tells who is in it, not how it is spelled"


def test_of_cropped_and_whole_the_cropped_one_is_taken(files, phantom, tmp_path):
    tree = build(tmp_path, USUAL, files, phantom)
    for key in KEYS[:2]:
        link(files[key, "", ".nii.gz"], tree / Variant(space="").path(*key))
    caps = Caps(tree)
    assert [file.name for file in caps.files(caps.participants)] == [USUAL.path(*key).name for key in KEYS]


@pytest.mark.parametrize(
    ("cropped", "whole"),
    [(".nii", ".nii"), (".nii", ".nii.gz"), (".nii.gz", ".nii")],
)
def test_cropped_and_whole_may_be_packed_differently(cropped, whole, files, phantom, tmp_path):
    tree = build(tmp_path, Variant(suffix=cropped), files, phantom)
    link(files[KEYS[0], "", whole], tree / Variant(space="", suffix=whole).path(*KEYS[0]))
    caps = Caps(tree)
    assert caps.files(caps.participants)[0] == tree / Variant(suffix=cropped).path(*KEYS[0])


def test_packed_and_unpacked_are_one_scan(files, phantom, tmp_path):
    tree = build(tmp_path, USUAL, files, phantom)
    link(files[KEYS[0], "_desc-Crop", ".nii"], tree / Variant(suffix=".nii").path(*KEYS[0]))
    assert Caps(tree).files(Caps(tree).participants)[0].suffix == ".gz"


# --- other tracers, and several scans of one


def test_another_tracer_is_left_out_unless_it_is_asked_for(files, phantom, tmp_path):
    tree = build(tmp_path, USUAL, files, phantom)
    other = Variant("trc-18FAV45")
    for key, shown in pairwise(KEYS):  # another picture than that of FDG
        link(files[shown, "_desc-Crop", ".nii.gz"], tree / other.path(*key))
    same_people(Caps(tree), phantom)
    fdg = Caps(tree).files(Caps(tree).participants)
    amyloid = open_cohort(f"{tree}:tracer=18FAV45")
    assert list(zip(amyloid.participants.participant_id, amyloid.participants.session_id, strict=True)) == KEYS[:2]
    assert [file.name for file in amyloid.files(amyloid.participants)] == [other.path(*key).name for key in KEYS[:2]]
    (first, *_) = amyloid.scans(PAPER, amyloid.participants)
    (shown,) = Caps(tree).scans(PAPER, Caps(tree).participants.iloc[[1]])
    np.testing.assert_array_equal(first.data, shown.data)
    assert all("18FFDG" in file.name for file in fdg)
    with pytest.raises(InputError, match=r"tracer 11CPIB .*18FAV45, 18FFDG .*tracer="):
        open_cohort(f"{tree}:tracer=11CPIB")


def test_several_reconstructions_are_listed_and_one_is_chosen(files, phantom, tmp_path):
    tree = build(tmp_path, Variant("trc-18FFDG_rec-uniform"), files, phantom)
    for source in ("trc-18FFDG_rec-coregiso", "trc-18FFDG_rec-coregavg"):
        for key in KEYS:
            link(files[key, "_desc-Crop", ".nii.gz"], tree / Variant(source).path(*key))
    with pytest.raises(InputError) as caught:
        Caps(tree)
    told = str(caught.value)
    assert "sub-P0001 ses-M000: has 3 scans" in told and "\n" not in told
    for name in ("coregavg", "coregiso", "uniform"):
        assert Variant(f"trc-18FFDG_rec-{name}").path(*KEYS[0]).name in told
        chosen = open_cohort(f"{tree}:contains=rec-{name}")
        assert all(f"_rec-{name}_" in file.name for file in chosen.files(chosen.participants))
        same_people(chosen, phantom)


def pairs_of_files() -> dict[str, tuple[Variant, Variant]]:
    """Two scans of one session that no rule tells apart."""
    return {
        "two reconstructions": (Variant("trc-18FFDG_rec-coregiso"), Variant("trc-18FFDG_rec-uniform")),
        "with and without one": (Variant("trc-18FFDG"), Variant("trc-18FFDG_rec-uniform")),
        "old and new names": (Variant("trc-18FFDG_pet"), Variant("trc-18FFDG")),
        "two spellings of acquisition": (Variant("task-rest_acq-fdg_pet"), Variant("trc-18FFDG")),
    }


@pytest.mark.parametrize("name", pairs_of_files())
def test_the_advice_helps(name, files, phantom, tmp_path):
    """What the error says to write is, word for word, what picks one scan."""
    for variant in pairs_of_files()[name]:
        link(files[KEYS[0], "_desc-Crop", ".nii"], tmp_path / variant.path(*KEYS[0]))
    write_tables(tmp_path, USUAL, facts(phantom))
    with pytest.raises(InputError) as caught:
        Caps(tmp_path)
    advice = str(caught.value).rpartition("PATH:")[2]
    assert len(open_cohort(f"{tmp_path}:{advice}").participants) == 1


# --- the scale of the protocol `paper`


def test_an_altered_image_keeps_the_healthy_scans_scale(files, phantom, tmp_path):
    """Under `paper`, x' is scaled by the least and largest voxel of x at 1 mm, though its own largest is lower."""
    protocol = load_protocol("paper")
    assert protocol.lattice == PAPER
    caps = Caps(build(tmp_path, USUAL, files, phantom))
    (scan,) = caps.scans(PAPER, caps.participants.iloc[[0]])
    volume = np.asarray(nibabel.load(files[KEYS[0], "_desc-Crop", ".nii"]).dataobj, dtype=np.float64)
    low, high = volume.min(), volume.max()
    assert (low, high) == scan.extent == (-0.25, 4.0)
    case = next(c for c in SimulatedCases(protocol, [scan]).cases(scan) if (c.anomaly, c.severity) == ("ad", 0.7))
    brain = atlas.brain_mask(PAPER)
    assert case.altered[brain].mean() < 0.97 * scan.data[brain].mean()
    scaled = case.intensity.normalise(case.altered)
    np.testing.assert_allclose(scaled, (case.altered - low) / (high - low), atol=1e-6)
    untouched = case.reduction == 0
    np.testing.assert_array_equal(scaled[untouched], case.intensity.normalise(scan.data)[untouched])
    own = (case.altered - case.altered.min()) / (case.altered.max() - case.altered.min())
    assert np.abs(own - scaled)[brain].max() > 0.01, "its own range would be another scale"
