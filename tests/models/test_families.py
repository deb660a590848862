"""What sets each family apart, against an independent computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from uadbench import registry
from uadbench.errors import InputError
from uadbench.models import extras
from uadbench.models.base import Model, cosine
from uadbench.models.beta_vae3d import BetaVAE3D
from uadbench.models.dae3d import DAE3D
from uadbench.models.ensemble import Ensemble
from uadbench.models.fanogan3d import FAnoGAN3D
from uadbench.models.layers.autoregressive import InverseAutoregressiveFlow
from uadbench.models.layers.blocks import to_blocks, to_voxels
from uadbench.models.layers.centring import Centring
from uadbench.models.layers.diffusion import PartialDiffusion, Prediction
from uadbench.models.layers.noise import coarse_noise
from uadbench.models.pca_recon import PCARecon
from uadbench.models.source import source_digest
from uadbench.models.vae3d import VAE3D
from uadbench.models.vqvae3d import VQVAE3D
from uadbench.models.zscore import ZScore
from uadbench.models.zscore_glm import ZScoreGLM
from uadbench.runtime.progress import Silent
from uadbench.space import atlas
from uadbench.testing import SMALL, example_batches, fitted
from uadbench.training.loop import train
from uadbench.types import Batch, Grid


def test_glm_is_least_squares_on_age_and_sex() -> None:
    rng = np.random.default_rng(0)
    count, voxels = 30, SMALL.size
    age, sex = rng.uniform(50, 90, count), rng.integers(0, 2, count)
    design = np.stack([np.ones(count), age, sex], axis=1)
    truth = rng.standard_normal((3, voxels)) * [[1.0], [0.01], [0.1]]
    images = design @ truth + 0.1 * rng.standard_normal((count, voxels))
    solution, *_ = np.linalg.lstsq(design, images, rcond=None)
    residual = images - design @ solution
    sd = np.sqrt((residual**2).sum(axis=0) / (count - 3))

    batch = Batch(
        torch.from_numpy(images.astype(np.float32)).view(count, 1, *SMALL.shape),
        torch.from_numpy(age).float(),
        torch.from_numpy(sex).float(),
        list(range(count)),
    )
    model = ZScoreGLM(SMALL, sd_floor=0.0)
    model.fit([batch])
    np.testing.assert_allclose(model.anomaly_map(batch).flatten(1).numpy(), -residual / sd, atol=2e-3)


def test_glm_puts_unknown_covariates_at_the_mean_and_copes_with_none() -> None:
    batches = list(example_batches())
    model = ZScoreGLM(SMALL)
    model.fit(batches)
    known = batches[0]
    nowhere = torch.full_like(known.age, float("nan"))
    age = torch.full_like(known.age, float(torch.cat([b.age for b in batches]).mean()))
    at_mean = Batch(known.images, age, known.sex, known.seeds)
    unknown = Batch(known.images, nowhere, known.sex, known.seeds)
    torch.testing.assert_close(model.anomaly_map(unknown), model.anomaly_map(at_mean), rtol=1e-3, atol=1e-3)

    blind = [
        Batch(b.images, torch.full_like(b.age, float("nan")), torch.full_like(b.sex, float("nan")), b.seeds)
        for b in batches
    ]
    model.fit(blind)
    plain = ZScore(SMALL)
    plain.fit(blind)
    torch.testing.assert_close(model.anomaly_map(blind[0]), plain.anomaly_map(blind[0]), rtol=1e-3, atol=1e-3)


def test_beta_weighs_the_divergence_alone() -> None:
    batch = next(iter(example_batches()))
    losses = []
    for beta in (0.0, 1.0, 4.0):
        torch.manual_seed(0)
        model = BetaVAE3D(SMALL, width=4, latent=8, beta=beta)
        losses.append(float(next(iter(model.losses(batch)))[1]))
    assert losses[2] - losses[0] == pytest.approx(4 * (losses[1] - losses[0]), rel=1e-3)
    torch.manual_seed(0)
    plain = VAE3D(SMALL, width=4, latent=8)
    assert float(next(iter(plain.losses(batch)))[1]) == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_flow_is_autoregressive_and_knows_its_determinant(steps: int) -> None:
    torch.manual_seed(0)
    flow = InverseAutoregressiveFlow(latent=6, hidden=16, steps=steps)
    z, context = torch.randn(1, 6), torch.randn(1, 6)
    jacobian = torch.autograd.functional.jacobian(lambda start: flow(start, context)[0], z)[0, :, 0]
    assert flow(z, context)[1].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-5)
    if steps == 1:  # output i, counted from the end, depends on inputs up to i
        assert torch.equal(jacobian.flip(0).triu(1), torch.zeros(6, 6))
        assert (jacobian.flip(0).tril(-1) != 0).any()


def test_noise_has_a_grain_and_a_size() -> None:
    grid = Grid((24, 32, 24), 7.0, (-81.5, -124.5, -71.5))
    noise = coarse_noise([1, 2], grid, 28.0)
    assert noise.shape == (2, 1, *grid.shape)
    torch.testing.assert_close(noise.square().mean(dim=(1, 2, 3, 4)), torch.ones(2))
    neighbours = (noise[:, :, 1:] * noise[:, :, :-1]).mean()
    white = coarse_noise([1, 2], grid, 1.0)
    assert neighbours > 0.7 and abs((white[:, :, 1:] * white[:, :, :-1]).mean()) < 0.05
    assert torch.equal(coarse_noise([2], grid, 28.0)[0], noise[1])


def test_blocks_are_those_of_monai_and_go_back() -> None:
    from monai.networks.utils import pixelunshuffle

    volumes = torch.randn(2, 1, 8, 12, 4)
    blocks = to_blocks(volumes, 2)
    assert torch.equal(blocks, pixelunshuffle(volumes, 3, 2))
    assert torch.equal(to_voxels(blocks, 2), volumes)


def test_centring_gives_the_brain_size_one() -> None:
    centring = Centring(SMALL)
    batches = example_batches()
    centring.learn(batches)
    images = torch.cat([batch.images for batch in batches])
    deviations = centring(images)
    brain = torch.from_numpy(atlas.brain_mask(SMALL))
    assert float(deviations[:, 0][:, brain].square().mean()) == pytest.approx(1.0, rel=1e-3)
    assert float(deviations.mean(dim=0).abs().max()) < 1e-3
    torch.testing.assert_close(centring.undo(deviations), images)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
@pytest.mark.parametrize(("depth", "passes"), [(250, 4), (500, 1), (7, 7), (999, 10), (3, 20)])
def test_a_perfect_denoiser_gives_the_input_back(prediction: Prediction, depth: int, passes: int) -> None:
    clean, noise = torch.randn(3, 2, 4, 4, 4), torch.randn(3, 2, 4, 4, 4)
    diffusion = PartialDiffusion(depth, passes, prediction)
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000), dim=0)  # Ho et al. 2020
    visited = []

    def oracle(noised: Tensor, times: Tensor) -> Tensor:
        visited.append(int(times[0]))
        alpha = alphas[times].view(-1, 1, 1, 1, 1)
        torch.testing.assert_close(noised, alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, rtol=1e-3, atol=1e-3)
        return noise if prediction == "epsilon" else clean

    torch.testing.assert_close(diffusion.restore(oracle, clean, noise), clean, rtol=1e-3, atol=1e-3)
    assert len(visited) == min(passes, depth) and max(visited) == depth and min(visited) >= 1
    assert visited == sorted(visited, reverse=True) and len(set(visited)) == len(visited)


def test_denoiser_leaves_the_background_alone_in_training() -> None:
    """Noise is added inside the brain only: what lies outside is no part of the task."""
    model = DAE3D(SMALL, width=4)
    batch = next(iter(example_batches()))
    model.prepare(example_batches())
    seen: list[Tensor] = []
    model.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    next(iter(model.losses(batch)))
    outside = torch.from_numpy(~atlas.brain_mask(SMALL))
    noise = to_voxels(seen[0], 2) - model.centring(batch.images)
    assert float(noise[:, 0][:, outside].abs().max()) == 0.0
    assert float(noise.abs().max()) > 0.1


def test_codes_are_entries_of_the_codebook() -> None:
    model = VQVAE3D(SMALL, width=4, codes=5, size=3).eval()
    with torch.no_grad():
        deviations = model.centring(next(iter(example_batches())).images)
        entries, _ = model.network.quantize(model.network.encode(to_blocks(deviations, 2)))
    found = entries.movedim(1, -1).reshape(-1, 3)
    distances = torch.cdist(found, model.network.quantizer.quantizer.embedding.weight)
    assert float(distances.min(dim=1).values.max()) < 1e-5


def test_generator_learns_its_statistics_from_drawn_codes_alone() -> None:
    """At inference the batch norms of the generator are those that the encoder was trained against."""
    model = FAnoGAN3D(SMALL, width=4, latent=8).train()
    norm = next(layer for layer in model.generator.modules() if isinstance(layer, nn.BatchNorm3d))
    counted = []
    for name, _ in model.losses(next(iter(example_batches()))):
        counted.append((name, int(norm.num_batches_tracked)))  # type: ignore[arg-type]
    assert [name for name, _ in counted] == ["critic", "generator", "encoder"]
    assert counted[0][1] == counted[2][1] == 1 and model.generator.training


def test_ensemble_is_the_mean_of_its_members() -> None:
    batches = example_batches()
    together = Ensemble(SMALL, members="zscore, pca_recon")
    together.prepare(batches)
    together.eval().finish(batches)
    brain = torch.from_numpy(atlas.brain_mask(SMALL))
    batch, expected = next(iter(batches)), torch.zeros(())
    for model in (ZScore(SMALL), PCARecon(SMALL)):
        model.fit(batches)
        over_all = torch.cat([model.anomaly_map(each)[:, 0][:, brain] for each in batches])
        expected = expected + model.anomaly_map(batch) / over_all.square().mean().sqrt() / 2
    torch.testing.assert_close(together.anomaly_map(batch), expected, rtol=1e-4, atol=1e-4)


def test_ensemble_trains_members_of_both_kinds() -> None:
    class Small(Ensemble):
        def __init__(self, grid: Grid, members: str = "mean,ae3d,aae3d", recipe: str = "quick") -> None:
            super().__init__(grid, members, recipe)

    model = fitted(Small)
    assert {name.partition(".")[0] for name in model.optimisers()} == {"ae3d", "aae3d"}
    assert not torch.equal(model.sizes, torch.ones(3))


@pytest.mark.parametrize("members", ["", " , ", "zscore,zscore", "ensemble", "zscore,ensemble", "zscor"])
def test_ensemble_refuses_members(members: str) -> None:
    with pytest.raises(InputError, match=r"members|did you mean"):
        Ensemble(SMALL, members=members)


def test_code_of_members_counts_as_the_ensemble_s() -> None:
    digests = {
        source_digest(Ensemble, *Ensemble.parts({"members": members}))
        for members in ("zscore", "pca_recon", "zscore,pca_recon")
    }
    assert len(digests) == 3 and source_digest(Ensemble) not in digests


def test_rates_follow_the_share_of_epochs(tmp_path: Path) -> None:
    seen: list[float] = []

    class Watched(DAE3D):
        def losses(self, batch: Batch):  # type: ignore[no-untyped-def]
            yield from super().losses(batch)
            seen.append(next(iter(self.made.values())).param_groups[0]["lr"])

        def optimisers(self) -> dict[str, torch.optim.Optimizer]:
            self.made = super().optimisers()
            return self.made

    batches = example_batches(batch_size=6)
    for epochs, file in ((4, "whole"), (2, "halved")):
        model = Watched(SMALL, width=2, learning_rate=0.5)
        train(model, batches, batches, epochs=epochs, patience=0, state_file=tmp_path / file, progress=Silent())
    assert seen[:4] == pytest.approx([0.5 * cosine(epoch / 4) for epoch in range(4)])
    assert seen[4:] == pytest.approx([0.5, 0.25])
    assert cosine(0.0) == 1.0 and cosine(1.0) == 0.0


def test_unmonitored_models_keep_their_last_weights(tmp_path: Path) -> None:
    batches = example_batches()
    model = DAE3D(SMALL, width=2)
    curve = train(model, batches, batches, epochs=2, patience=1, state_file=tmp_path / "s", progress=Silent())
    assert curve.validation_mse == [None, None] and curve.best_epoch is None and curve.cpu_seconds > 0


WITH_EXTRA = sorted(name for name, plugin in registry.models.load_all().items() if getattr(plugin, "extra", ""))


@pytest.mark.parametrize("name", WITH_EXTRA)
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = registry.models.get(name)
    assert issubclass(plugin, Model)
    monkeypatch.setattr(extras, "EXTRAS", dict.fromkeys(extras.EXTRAS, ("not_there",)))
    with pytest.raises(InputError, match=rf"needs .*pip install 'uadbench\[{plugin.extra}\]'$"):
        plugin(SMALL)


@pytest.mark.parametrize("name", ["dae3d", "vqvae3d", "anoddpm3d", "ldm3d", "fanogan3d", "vaegan3d"])
def test_a_grid_that_cannot_be_halved_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="grid"):
        registry.models.get(name)(Grid((18, 18, 18), 8.0, (0.0, 0.0, 0.0)))
