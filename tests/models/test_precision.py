"""Mixed precision is used only where asked for and available, and layout changes no number."""

from __future__ import annotations

import pytest
import torch

from uadbench.models import precision
from uadbench.models.vae3d import VAE3D
from uadbench.testing import SMALL, example_batches

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "found"),
    [({}, "float32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_f": True}, "float32")],
)
def test_bf16_needs_a_processor_that_multiplies_it(capabilities, found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.available("bf16", CPU) == found
    assert precision.available("float32", CPU) == "float32"
    assert precision.available("bf16", torch.device("meta")) == "float32"


def test_autocast_is_on_only_inside() -> None:
    with precision.computing_in("bf16", CPU):
        assert torch.is_autocast_enabled("cpu")
    with precision.computing_in("float32", CPU):
        assert not torch.is_autocast_enabled("cpu")


def test_layout_changes_no_number() -> None:
    torch.manual_seed(0)
    model = VAE3D(SMALL, width=4).eval()
    (batch, *_) = example_batches(4)
    with torch.no_grad():
        before = model.reconstruct(batch)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        precision.lay_out(model)
        after = model.reconstruct(batch)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert model.encoder[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-6)


def test_losses_in_bf16_are_near_those_in_float32() -> None:
    """The network's products are rounded to eight bits; sums and the loss are not."""
    torch.manual_seed(0)
    model = VAE3D(SMALL, width=4).train()
    (batch, *_) = example_batches(8)
    found = {}
    for kind in ("float32", "bf16"):
        with precision.computing_in(kind, CPU):  # type: ignore[arg-type]
            ((_, loss),) = model.losses(batch)
        assert loss.dtype == torch.float32
        found[kind] = float(loss.detach())
    assert found["bf16"] == pytest.approx(found["float32"], rel=0.01)
    assert found["bf16"] != found["float32"]
