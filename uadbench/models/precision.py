"""Precision of training (bfloat16 where the processor supports it) and memory layout of convolution weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from uadbench.types import Precision


def available(wanted: Precision, device: torch.device) -> Precision:
    """The precision that training uses on a device: float32 where bfloat16 would only be emulated.

    Weights, sums, normalisation and losses are float32 in both cases; only the inputs of matrix products and
    convolutions differ.
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
    """Context of automatic mixed precision for a forward pass; does nothing for float32.

    See Micikevicius et al. 2018, arXiv:1710.03740.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def lay_out(model: nn.Module) -> None:
    """Store the weights of 3D convolutions channels-last, as fast kernels read them; their values do not change."""
    for weight in model.parameters():
        if weight.dim() == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
