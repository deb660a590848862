"""The training loop: exact resume, best weights, early stop, and a loss that is not a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from uadbench.errors import Unfinished
from uadbench.models.aae3d import AAE3D
from uadbench.models.base import ReconstructionModel, adam
from uadbench.models.checkpoint import build_model
from uadbench.runtime.progress import Silent
from uadbench.testing import SMALL, example_batches
from uadbench.training.loop import Curve, train
from uadbench.types import Batch


class Stop(Exception):
    pass


class StopAfter(Silent):
    """Progress that kills the training after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def task(self, label, total):  # type: ignore[no-untyped-def]
        return self

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.left -= steps
        if self.left < 0:
            raise Stop


def run(model, file: Path, progress=None, epochs: int = 5, patience: int = 0) -> Curve:  # type: ignore[no-untyped-def]
    batches = example_batches(9)
    return train(
        model,
        batches,
        batches,
        epochs=epochs,
        patience=patience,
        state_file=file,
        progress=progress or Silent(),
        save_every_s=0.0,
    )


def test_a_killed_training_ends_equal_to_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = build_model("aae3d", SMALL, {}, seed=5)
    whole = run(undisturbed, tmp_path / "a")
    for stop in (1, 2):
        killed = build_model("aae3d", SMALL, {}, seed=5)
        with pytest.raises(Stop):
            run(killed, tmp_path / "b", StopAfter(stop))
    resumed = build_model("aae3d", SMALL, {}, seed=5)
    curve = run(resumed, tmp_path / "b")
    assert curve.losses == whole.losses
    assert curve.validation_mse == whole.validation_mse
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_damaged_state_is_no_state(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"torn")
    curve = run(build_model("ae3d", SMALL, {}, seed=5), tmp_path / "s", epochs=2)
    assert len(curve.losses) == 2


def test_the_best_epoch_is_kept_and_patience_ends(tmp_path: Path) -> None:
    class Drifts(ReconstructionModel):
        """Its error falls, then rises: the gain goes by in steps of 0.1."""

        def __init__(self) -> None:
            super().__init__(SMALL)
            self.gain = nn.Parameter(torch.tensor(0.8))

        def reconstruct(self, batch: Batch) -> Tensor:
            return self.gain * batch.images

        def losses(self, batch: Batch):  # type: ignore[no-untyped-def]
            yield "drift", -self.gain

        def optimisers(self):  # type: ignore[no-untyped-def]
            return {"drift": torch.optim.SGD(self.parameters(), lr=0.1 / 3)}  # 3 batches an epoch

    model = Drifts()
    curve = run(model, tmp_path / "s", epochs=20, patience=3)
    assert curve.best_epoch == 1
    assert len(curve.losses) == 1 + 1 + 3
    assert float(model.gain.detach()) == pytest.approx(1.0, abs=1e-5)


def test_a_loss_that_is_nan_ends_the_training(tmp_path: Path) -> None:
    class Breaks(AAE3D):
        def losses(self, batch: Batch):  # type: ignore[no-untyped-def]
            for name, loss in super().losses(batch):
                yield name, loss * (float("nan") if name == "encoder" else 1.0)

    with pytest.raises(Unfinished, match="loss 'encoder' is nan"):
        run(Breaks(SMALL), tmp_path / "s")
    assert adam([nn.Parameter(torch.ones(1))], 0.1).defaults["fused"]
