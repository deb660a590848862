"""What the tests of the exchange share: one export of the smoke protocol, and copies of it that a test may spoil."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOOL = """
import sys
from pathlib import Path
import nibabel
import numpy as np

folder, kinds = Path(sys.argv[1]), sys.argv[2:]


def load(file):
    return np.asarray(nibabel.load(file).dataobj, dtype=np.float64)


train = np.stack([load(file) for file in sorted((folder / "train").iterdir())])
brain = load(next(folder.glob("brain_mask.nii*"))) > 0
mean, sd = train.mean(axis=0), train.std(axis=0, ddof=1)
sd = np.maximum(sd, np.median(sd[brain]))
for part in ("validation", "test"):
    for file in sorted((folder / part).iterdir()):
        image = nibabel.load(file)
        for kind, answer in (("maps", (mean - image.get_fdata()) / sd), ("reconstructions", mean)):
            if kind in kinds:
                (folder / kind).mkdir(exist_ok=True)
                nibabel.Nifti1Image(answer.astype(np.float32), image.affine).to_filename(folder / kind / file.name)
assert not any(name.startswith("uadbench") or name == "torch" for name in sys.modules)
"""
"""A z-score and the mean image, from the files of an export alone."""


@pytest.fixture(scope="session")
def exported(fold_data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the smoke protocol. Not to be changed."""
    from uadbench.exchange.export import export_testset
    from uadbench.exchange.manifest import manifest_of
    from uadbench.runtime.progress import Silent

    folder = tmp_path_factory.mktemp("exported") / "phantom"
    export_testset(fold_data, manifest_of(fold_data, "phantom", ".nii.gz"), folder, Silent())
    return folder


@pytest.fixture(scope="session")
def use_tool(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Let a tool of another process answer an export: `use_tool(folder, "maps", "reconstructions")`."""
    script = tmp_path_factory.mktemp("tool") / "tool.py"
    script.write_text(TOOL)

    def run(folder: Path, *kinds: str) -> None:
        subprocess.run([sys.executable, str(script), str(folder), *kinds], check=True)

    return run


@pytest.fixture(scope="session")
def answered(exported: Path, use_tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export with answers of both kinds. Not to be changed."""
    folder = tmp_path_factory.mktemp("answered") / "phantom"
    shutil.copytree(exported, folder)
    use_tool(folder, "maps", "reconstructions")
    return folder


@pytest.fixture
def spoilt(answered: Path, tmp_path: Path) -> Path:
    """A copy with answers, to be spoilt."""
    return Path(shutil.copytree(answered, tmp_path / "spoilt"))
