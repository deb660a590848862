"""The networks are what they say: equal layers, the paper's loss and size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from uadbench.errors import InputError
from uadbench.models import vae3d
from uadbench.models.aae3d import AAE3D
from uadbench.models.ae3d import AE3D
from uadbench.models.checkpoint import build_model, load_model, load_weights, parameter_count, save_model
from uadbench.models.layers.convolutional import Decoder
from uadbench.models.layers.depth_to_space import DoublingConvTranspose3d
from uadbench.models.vae3d import VAE3D
from uadbench.models.zscore import ZScore
from uadbench.protocols.schema import load_protocol
from uadbench.testing import SMALL, example_batches, fitted
from uadbench.types import Grid


@pytest.mark.parametrize(("channels", "filters"), [(5, 1), (3, 4)])
def test_doubling_equals_the_plain_layer(channels: int, filters: int) -> None:
    torch.manual_seed(0)
    layer, x = DoublingConvTranspose3d(channels, filters), torch.randn(2, channels, 3, 4, 5, requires_grad=True)
    plain = nn.ConvTranspose3d.forward(layer, x)
    fast = layer(x)
    assert fast.shape == (2, filters, 6, 8, 10)
    torch.testing.assert_close(fast, plain)
    weights = torch.randn_like(plain)
    expected = torch.autograd.grad((plain * weights).sum(), [x, layer.weight, layer.bias])
    found = torch.autograd.grad((fast * weights).sum(), [x, layer.weight, layer.bias])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_kl_is_that_of_two_normals() -> None:
    mu, log_variance = torch.randn(4, 7), torch.randn(4, 7)
    expected = kl_divergence(Normal(mu, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(vae3d.kl_divergence(mu, log_variance), expected)
    assert float(vae3d.kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3))) == 0


def test_the_vae_has_the_papers_size() -> None:
    with torch.device("meta"):
        model = VAE3D(load_protocol("paper").lattice)
    kinds = [type(m).__name__ for m in model.encoder.modules()]
    assert [kinds.count(kind) for kind in ("Conv3d", "BatchNorm3d", "LeakyReLU")] == [3, 3, 3]
    assert model.posterior.out_features == 2 * 128
    # 3 convolutions, dense to 256, dense from 128, 3 transposed convolutions, batch norms
    convolutions = 27 * (1 * 32 + 32 * 64 + 64 * 128)
    dense = 128 * 1200 * 256 + 256 + 128 * 128 * 1200 + 128 * 1200
    norms = 2 * (32 + 64 + 128) + 2 * (64 + 32)
    assert parameter_count(model) == 2 * convolutions + 1 + dense + norms
    assert VAE3D.recipes["paper"] == {"learning_rate": 1e-5, "from_mean": False}


def test_the_vae_loss_is_sum_of_squares_plus_kl() -> None:
    model = fitted(VAE3D).train()
    batch = next(iter(example_batches()))
    ((name, loss),) = model.losses(batch)
    assert name == "vae"
    model.eval()
    mu, log_variance = model.encode(batch.images)
    assert float(loss.detach()) > float(vae3d.kl_divergence(mu, log_variance)) / len(batch) > 0


def test_from_mean_starts_at_the_mean() -> None:
    model = VAE3D(SMALL)
    batches = example_batches()
    mean = torch.cat([batch.images for batch in batches]).mean(0)
    model.prepare(batches)
    model.eval()
    started = model.reconstruct(next(iter(batches)))
    assert float((started - mean).abs().mean()) < 0.1
    plain = VAE3D(SMALL, from_mean=False)
    plain.prepare(batches)
    assert float(plain.decoder.offset.abs().max()) == 0


@pytest.mark.slow
@pytest.mark.parametrize("network", [AE3D, VAE3D, AAE3D])
def test_autoencoders_learn(network: type[AE3D]) -> None:
    batches = example_batches()
    images = torch.cat([batch.images for batch in batches])
    model = fitted(network, epochs=150)
    restored = torch.cat([model.reconstruct(batch) for batch in batches]).detach()
    error = float((restored - images).square().mean())
    assert error < 0.9 * float((images - images.mean(0)).square().mean())


def test_aae_losses_move_only_their_own_part() -> None:
    model = fitted(AAE3D).train()
    optimisers = model.optimisers()
    batch = next(iter(example_batches()))
    for name, loss in model.losses(batch):
        before = {key: value.clone() for key, value in model.named_parameters()}
        optimisers[name].zero_grad()
        loss.backward()
        optimisers[name].step()
        moved = {key.split(".")[0] for key, value in model.named_parameters() if not torch.equal(value, before[key])}
        assert moved == ({"encoder", "decoder"} if name == "autoencoder" else {name})


def test_zscore_is_numpys() -> None:
    batches = example_batches(8)
    images = torch.cat([batch.images[:, 0] for batch in batches]).double()
    model = fitted(ZScore)
    with torch.no_grad():
        model.fit(batches)
    expected_sd = images.std(0, correction=1)
    loose = model.sd.double() > expected_sd + 1e-6
    torch.testing.assert_close(model.mean.double(), images.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.sd.double()[~loose], expected_sd[~loose], rtol=1e-5, atol=1e-6)
    assert float(model.sd[loose].max() - model.sd[loose].min()) == 0, "what is floored has one value"


def test_a_grid_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be halved 3 times"):
        VAE3D(Grid((20, 24, 20), 8.0, (0, 0, 0)))
    with pytest.raises(InputError):
        Decoder(Grid((16, 16, 12), 8.0, (0, 0, 0)), 4, 4)


def test_checkpoint_rebuilds_the_model(tmp_path) -> None:
    model = build_model("vae3d", SMALL, {"latent": "16"}, seed=3)
    save_model(model, tmp_path, name="vae3d", options={"latent": 16}, fit_key="k")
    again = load_model(tmp_path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    other = build_model("vae3d", SMALL, {"latent": 17}, seed=3)
    with pytest.raises(InputError, match="do not fit the model"):
        load_weights(other, tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"12")
    with pytest.raises(InputError, match="invalid safetensors file"):
        load_weights(model, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="no such checkpoint"):
        load_weights(model, tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="contains no model"):
        load_model(tmp_path / "none")
