"""A user's program, whose types mypy checks (see test_types.py)."""

from __future__ import annotations

from typing import assert_type

import torch

import uadbench as ub


def main() -> None:
    one = ub.run("vae3d", protocol="smoke")
    assert_type(one, ub.CompletedRun)
    several = ub.run(["zscore", "pca_recon"], seeds=[0, 1])
    assert_type(several, ub.Runs)
    assert_type(ub.run("zscore", seeds=[0, 1]), ub.Runs)
    assert_type(several[0], ub.CompletedRun)
    assert_type(one.result.headline.ap_standard, float | None)
    assert_type(ub.test_dataset("smoke")[0]["image"], torch.Tensor)
    assert_type(ub.train_dataset("smoke")[0], torch.Tensor)
    print(ub.compare(several).to_frame().columns, one.scores.columns, ub.simulate("scan.nii.gz", "ad", 0.3).image)


@ub.register_model("client_half")
class Half(ub.ReconstructionModel):
    """Half of the image."""

    def reconstruct(self, batch: ub.Batch) -> torch.Tensor:
        return batch.images / 2
