"""In what numbers a network trains, bfloat16 where the processor multiplies it, and how its weights are laid out."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from uadbench.types import Precision


def available(wanted: Precision, device: torch.device) -> Precision:
    """What a training that may use bfloat16 really uses on a device: float32 where bfloat16 would be emulated.

    Weights, sums, normalisation and losses are float32 in either case; what changes is what goes into a product.
    """
    if wanted == "float32":
        return "float32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "float32"
    return "float32"


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Automatic mixed precision (Micikevicius et al. 2018, arXiv:1710.03740) for a forward pass, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def lay_out(model: nn.Module) -> None:
    """Order the weights of 3D convolutions as their fast kernels read them, channels last; the numbers stay."""
    for weight in model.parameters():
        if weight.dim() == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
