"""No command writes over, or into, what it reads; it is refused before anything is written."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from uadbench.cli.main import main
from uadbench.errors import InputError
from uadbench.protocols.schema import load_protocol
from uadbench.runtime.files import require_apart, require_not_read

LATTICE = load_protocol("smoke").lattice


def scan(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ones(LATTICE.shape, np.float32), LATTICE.affine), file)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A table of scans, one of them an altered one; and a CAPS tree."""
    names = ("a_pet.nii.gz", "a_anomaly-ad_severity-30_pet.nii.gz")
    for name in names:
        scan(tmp_path / "lab" / name)
    for table in ("scans.tsv", "simulated.tsv"):
        rows = [f"sub-{number}\t{name}\tCN" for number, name in enumerate(names)]
        (tmp_path / "lab" / table).write_text("\n".join(["participant_id\tpath\tdiagnosis", *rows]))
    name = "sub-1_ses-M000_trc-18FFDG_space-MNI152NLin2009cSym_desc-Crop_res-1x1x1_suvr-cerebellumPons2_pet.nii.gz"
    scan(tmp_path / "caps" / "subjects" / "sub-1" / "ses-M000" / "pet_linear" / name)
    (tmp_path / "caps" / "participants.tsv").write_text("participant_id\tdiagnosis\nsub-1\tCN\n")
    (tmp_path / "link").symlink_to(tmp_path / "caps")
    return tmp_path


def all_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SIMULATED = ["--anomaly", "ad", "--severity", "0.3", "--output"]


@pytest.mark.parametrize(
    "command",
    [
        ["simulate", "lab/simulated.tsv", *SIMULATED, "lab"],
        ["simulate", "lab/scans.tsv", *SIMULATED, "lab"],
        ["simulate", "caps", *SIMULATED, "caps"],
        ["simulate", "caps", *SIMULATED, "caps/inside"],
        ["simulate", "caps", *SIMULATED, "."],
        ["simulate", "link", *SIMULATED, "caps"],
        ["cohort", "split", "lab/scans.tsv", "--output", "lab/scans.tsv"],
        ["cohort", "split", "./caps", "--output", "link/participants.tsv"],
        ["cohort", "export", "caps", "--cohort", "./caps"],
        ["testset", "export", "caps", "--protocol", "smoke"],
        ["testset", "export", "lab", "--protocol", "smoke"],
    ],
    ids=" ".join,
)
def test_what_is_read_is_not_written(
    command: list[str], lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(lab)
    before = all_files(lab)
    with pytest.raises(SystemExit) as stopped:
        main(command)
    told = " ".join(capsys.readouterr().err.split())
    assert stopped.value.code == 2 and re.search(
        "part of the input|is an input|separate folder|neither empty|another CAPS tree", told
    ), told
    assert all_files(lab) == before


def test_beside_is_not_inside(lab: Path) -> None:
    require_apart(lab / "caps", lab / "caps-altered")
    require_not_read(lab / "lab" / "split.json", lab / "lab" / "scans.tsv")
    require_not_read(lab / "caps" / "split.json", lab / "caps")
    for one, other in ((lab / "caps", lab / "link" / "x"), (lab / "link", lab), (lab, lab)):
        with pytest.raises(InputError, match="separate folder"):
            require_apart(one, other)
