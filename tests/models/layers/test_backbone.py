"""Pretrained features: the published weights in the published architecture, frozen, and where they look."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uadbench.errors import InputError
from uadbench.models import extras
from uadbench.models.layers import backbone
from uadbench.models.layers.backbone import ON_HUB, PACKAGE, PACKAGED, Backbone, Network, imagenet_weights
from uadbench.models.layers.torchvision_ops import import_timm

LITE0: Network = "tf_efficientnet_lite0"
STAGES = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]
"""Blocks and first stride of every stage: table 1 of Tan and Le 2019, arXiv:1905.11946."""


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    with (files(PACKAGE) / PACKAGED).open("rb") as file:
        return torch.load(file, weights_only=True)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    model = import_timm().create_model(LITE0).eval()
    model.load_state_dict(imagenet_weights(LITE0))
    return model


@pytest.fixture(scope="module")
def cat() -> Tensor:
    """A photograph of a cat, (1, 3, 224, 224), normalised for ImageNet."""
    from skimage import data, transform

    picture = transform.resize(data.chelsea()[:, 75:375], (224, 224), anti_aliasing=True)
    pixels = torch.from_numpy(picture).float().permute(2, 0, 1)[None]
    mean, sd = (torch.tensor(values).view(3, 1, 1) for values in (backbone.MEAN, backbone.SD))
    return (pixels - mean) / sd


def published_logits(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """EfficientNet-Lite0 from its published weights: no squeeze and excitation, ReLU6, padding "same"."""

    def convolve(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[name + ".weight"]
        kernel, size = weight.shape[2], x.shape[2]
        pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        x = F.pad(x, (pad // 2, pad - pad // 2) * 2)
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1] if weight.shape[1] == 1 else 1)

    def normalise(x: Tensor, name: str) -> Tensor:
        mean, var, scale, bias = (
            weights[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, bias, eps=1e-3)

    x = F.relu6(normalise(convolve(x, "_conv_stem", 2), "_bn0"))
    number = 0
    for repeats, first_stride in STAGES:
        for repeat in range(repeats):
            block, stride, before = f"_blocks.{number}.", first_stride if repeat == 0 else 1, x
            if number > 0:
                x = F.relu6(normalise(convolve(x, block + "_expand_conv"), block + "_bn0"))
            x = F.relu6(normalise(convolve(x, block + "_depthwise_conv", stride), block + "_bn1"))
            x = normalise(convolve(x, block + "_project_conv"), block + "_bn2")
            x = x + before if repeat > 0 else x
            number += 1
    x = F.relu6(normalise(convolve(x, "_conv_head"), "_bn1")).mean(dim=(2, 3))
    return F.linear(x, weights["_fc.weight"], weights["_fc.bias"])


def test_the_published_network_and_timms_give_the_same_logits(
    published: dict[str, Tensor], network: nn.Module, cat: Tensor
) -> None:
    pictures = torch.cat([cat, torch.randn(cat.shape, generator=torch.Generator().manual_seed(0))])
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), published_logits(published, pictures), rtol=1e-3, atol=1e-3)


def test_a_cat_is_a_cat(network: nn.Module, cat: Tensor) -> None:
    with torch.no_grad():
        assert int(network(cat).argmax()) in range(281, 286)  # ImageNet's domestic cats


@pytest.mark.parametrize("name", [LITE0, "resnet18", "wide_resnet50_2"])
def test_folding_batch_normalisation_changes_no_feature(name: Network) -> None:
    layers = import_timm().create_model(name, features_only=True, out_indices=(1, 2)).eval()
    norms = [module for module in layers.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 2)
    pictures = torch.randn(2, 3, 33, 41)
    with torch.no_grad():
        before = layers(pictures)
        backbone._fold_batch_norm(layers)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in layers.modules())
        for folded, plain in zip(layers(pictures), before, strict=True):
            torch.testing.assert_close(folded, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize(("name", "level"), [(LITE0, 1), (LITE0, 2), ("resnet18", 1), ("resnet18", 2)])
def test_a_feature_looks_at_a_square_about_its_pixel(name: Network, level: int) -> None:
    describe = Backbone(name, "random", (level,))
    slices = torch.rand(8, 129, 129, requires_grad=True)
    features = describe(slices)
    row, column = features.shape[2] // 2, features.shape[3] // 2 + 1
    features[:, :, row, column].square().sum().backward()
    seen = slices.grad.abs().sum(dim=0).nonzero()
    centre = (seen.amin(dim=0) + seen.amax(dim=0)) / 2
    assert centre.tolist() == [describe.stride * row, describe.stride * column]


def test_levels_are_interpolated_to_the_finest() -> None:
    both = Backbone(LITE0, "imagenet", (1, 2))
    fine, coarse = (Backbone(LITE0, "imagenet", (level,)) for level in (1, 2))
    slices = torch.rand(3, 41, 33)
    with torch.no_grad():
        found = both(slices)
        torch.testing.assert_close(found[:, : fine.channels], fine(slices))
        torch.testing.assert_close(found[:, fine.channels :, ::2, ::2], coarse(slices))


def test_known_weights_stay_out_of_checkpoints() -> None:
    assert set(Backbone(LITE0, "imagenet", (1,)).state_dict()) == {"digest"}


def test_random_weights_are_in_checkpoints() -> None:
    torch.manual_seed(0)
    first, second, slices = *(Backbone(LITE0, "random", (1,)) for _ in range(2)), torch.rand(2, 33, 33)
    assert not torch.equal(first(slices), second(slices))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(slices), second(slices))


def test_another_network_than_the_one_it_was_fitted_on_is_refused() -> None:
    describe = Backbone(LITE0, "imagenet", (1,))
    with pytest.raises(RuntimeError, match="other pretrained weights"):
        describe.load_state_dict({"digest": describe.digest + 1})


def test_weights_that_are_not_installed_are_never_random(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(extras, "EXTRAS", {"features": ("no_such_package",)})
    with pytest.raises(InputError, match=r"no_such_package; install with: pip install 'uadbench\[features\]'"):
        Backbone(LITE0, "imagenet", (1,))
    with pytest.raises(InputError, match=r"hf download timm/resnet18\.tv_in1k model\.safetensors"):
        Backbone("resnet18", "imagenet", (1,))


def test_weights_in_the_hubs_cache_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    cached = tmp_path / ("models--" + ON_HUB["resnet18"].replace("/", "--"))
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    (cached / "snapshots" / "abc").mkdir(parents=True)
    torch.manual_seed(0)
    weights = import_timm().create_model("resnet18").state_dict()
    save_file(weights, cached / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    torch.manual_seed(0)
    slices, known = torch.rand(2, 33, 33), Backbone("resnet18", "imagenet", (1, 2))
    again = import_timm().create_model("resnet18", features_only=True, out_indices=(1, 2)).eval()
    again.load_state_dict({name: weights[name] for name in again.state_dict()})
    mean, sd = (torch.tensor(values).view(3, 1, 1) for values in (backbone.MEAN, backbone.SD))
    with torch.no_grad():
        fine = again((slices[:, None] - mean) / sd)[0]
        torch.testing.assert_close(known(slices)[:, :64], fine, rtol=1e-3, atol=1e-3)
