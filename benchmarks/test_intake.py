"""Reading a cohort's scans at 1 mm: inflated, checked and put on the paper's grid, against nibabel alone."""

from __future__ import annotations

from pathlib import Path

import nibabel
import pytest

from uadbench.cohorts.caps import Caps
from uadbench.cohorts.io.export import export_caps
from uadbench.cohorts.phantom import Phantom
from uadbench.protocols.schema import load_protocol
from uadbench.runtime.progress import Silent

SCANS = 6
GRID = load_protocol("paper").lattice


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Caps:
    phantom = Phantom(participants=SCANS, patients=0)
    rows = phantom.participants.drop_duplicates("participant_id").reset_index(drop=True)
    folder = tmp_path_factory.mktemp("tree")
    export_caps(phantom, rows, folder, Silent())
    return Caps(folder)


def read_all(tree: Caps, workers: int) -> None:
    tree.workers = workers
    for scan in tree.scans(GRID, tree.participants):
        assert scan.data.shape == GRID.shape


def load_all(files: list[Path]) -> None:
    for file in files:
        nibabel.load(file).get_fdata()


def test_intake(tree: Caps, versus) -> None:
    """One thread reads one scan after the other, as the baseline does, and does more with each."""
    row = tree.participants.iloc[0]
    files = tree.files(tree.participants)

    def ours() -> None:
        for file in files:
            tree.read(file, GRID, row)

    work = f"intake of {SCANS} scans of 169 x 208 x 179 (.nii.gz), one thread"
    versus(work, "nibabel, get_fdata", 1.5, ours, lambda: load_all(files))


def test_two_workers(tree: Caps, versus) -> None:
    work = f"intake of {SCANS} scans of 169 x 208 x 179 (.nii.gz), two threads"
    versus(work, "one thread", 1.8, lambda: read_all(tree, 2), lambda: read_all(tree, 1))
