"""What a model begins with: the same for every seed and processor, and not for another file of weights."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from uadbench import registry
from uadbench.models.base import Model
from uadbench.models.checkpoint import build_model
from uadbench.models.initial_state import Initial, begins_as, initial_state, seems_learnt
from uadbench.testing import SMALL
from uadbench.testing.examples import new_model
from uadbench.types import Grid

WEIGHTS = {"layer.weight": torch.linspace(-1, 1, 12).reshape(3, 4).sin(), "layer.bias": torch.zeros(3)}


def model_file(folder: Path, constructor: str, attributes: str = "") -> str:
    """The reference of a model in a file, with these lines in its constructor; `weights` is a file beside it."""
    body = "\n".join(f"        {line}" for line in constructor.splitlines())
    (folder / "net.py").write_text(
        "from pathlib import Path\nimport numpy as np\nimport torch\nfrom safetensors.torch import load_file\n"
        "from torch import nn\nfrom uadbench.models.base import ReconstructionModel\n"
        "weights = Path(__file__).with_name('weights.safetensors')\n"
        f"class Net(ReconstructionModel):\n    {attributes or 'gain = 1.0'}\n"
        f"    def __init__(self, grid):\n        super().__init__(grid)\n        self.layer = nn.Linear(4, 3)\n{body}\n"
        "    def reconstruct(self, batch):\n        return batch.images * self.layer.weight.mean()\n"
    )
    return f"{folder / 'net.py'}:Net"


def begun(reference: str) -> Initial:
    return initial_state(lambda: build_model(reference, SMALL, {}, seed=3))


def digests(reference: str, folder: Path) -> list[str | None]:
    """The digests with a file of weights, the same again, and another."""
    found = []
    for factor in (1.0, 1.0, 1.0001):
        save_file({name: factor * value for name, value in WEIGHTS.items()}, folder / "weights.safetensors")
        found.append(begun(reference).digest)
    return found


LOADS = "state = load_file(weights)\n"
LOADED = {
    "parameters": LOADS + "self.load_state_dict(state)",
    "parameters and noise": LOADS + "self.load_state_dict(state)\nself.layer.weight.data += torch.randn(3, 4)",
    "a buffer outside of checkpoints": LOADS + "self.register_buffer('b', state['layer.weight'], persistent=False)",
    "an attribute": LOADS + "self.prior = state['layer.weight']",
    "an array in a dictionary": LOADS + "self.priors = {'a': [state['layer.weight'].numpy()]}",
    "a module that torch does not see": LOADS + "self.teacher = [nn.Linear(4, 3)]\n"
    "self.teacher[0].load_state_dict({k[6:]: v for k, v in state.items()})",
}


@pytest.mark.parametrize("constructor", LOADED.values(), ids=LOADED)
def test_weights_of_a_file_are_seen_and_undeclared(constructor: str, tmp_path: Path) -> None:
    reference = model_file(tmp_path, constructor)
    first, again, other = digests(reference, tmp_path)
    assert first == again != other
    (name,) = begun(reference).undeclared
    declared = model_file(tmp_path, constructor, f"pretrained = {{{name.partition('.')[0]!r}: 'package x 1.0'}}")
    assert begun(declared).undeclared == ()


DRAWN = {
    "layers": "self.more = nn.Sequential(nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.LSTM(3, 4), nn.Embedding(5, 3))",
    "every initialisation": "w = torch.empty(4, 4, 3)\nfor draw in (nn.init.orthogonal_, nn.init.xavier_normal_, "
    "nn.init.kaiming_uniform_, nn.init.trunc_normal_):\n    draw(w)\nself.w = nn.Parameter(w)\n"
    "nn.init.sparse_(self.layer.weight, 0.5)",
    "memory that is not set": "self.register_buffer('mean', torch.empty(7, 5))\nself.w = torch.rand(3, 3).new_empty(9)",
    "a forward pass with dropout": "self.eval().train()\nself.shape = nn.Dropout(0.5)(self.layer(torch.rand(2, 4)))",
    "an identity": "nn.init.eye_(self.layer.weight)\nself.k = nn.Parameter(nn.init.dirac_(torch.empty(2, 2, 3)))",
    "whole numbers": "self.edges = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])\nself.i = torch.arange(9.0)",
    "itself in a list": "self.parts = [self, [self]]",
    "a layer without a size yet": "self.lazy = nn.LazyLinear(3)",
    "other number types": "self.half = torch.ones(3, dtype=torch.bfloat16)\n"
    "self.c = torch.zeros(3, dtype=torch.cfloat)\nself.s = torch.eye(3).to_sparse()\n"
    "self.nan = torch.full((4,), float('nan'))",
}


@pytest.mark.parametrize("constructor", DRAWN.values(), ids=DRAWN)
def test_what_code_makes_is_the_same_and_not_learnt(constructor: str, tmp_path: Path) -> None:
    reference = model_file(tmp_path, constructor)
    first = begun(reference)
    assert first == begun(reference) and first.digest and first.undeclared == ()


@pytest.mark.parametrize("constructor", ["torch.linalg.inv(torch.rand(3, 3))", "assert torch.rand(1)"])
def test_a_constructor_that_needs_draws_has_them(constructor: str, tmp_path: Path) -> None:
    reference = model_file(tmp_path, LOADS + "self.load_state_dict(state)\n" + constructor)
    first, again, other = digests(reference, tmp_path)
    assert first == again != other


def test_a_constructor_that_raises_is_left_to_the_run(tmp_path: Path) -> None:
    for constructor in ("raise RuntimeError('no')", "raise SystemExit(3)"):
        assert begun(model_file(tmp_path, constructor)).undeclared == ()


def test_a_tensor_without_numbers_makes_the_state_unknown(tmp_path: Path) -> None:
    reference = model_file(tmp_path, "self.planned = torch.empty(3, device='meta')")
    assert begun(reference).digest is None


def test_no_generator_is_moved(tmp_path: Path) -> None:
    reference = model_file(tmp_path, "torch.rand(3), np.random.rand(3)")
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    drawn = [random.random(), np.random.rand(), float(torch.rand(1))]
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    begun(reference)
    assert [random.random(), np.random.rand(), float(torch.rand(1))] == drawn


@pytest.mark.parametrize(
    ("values", "learnt"),
    [
        (torch.tensor([0.1, 0.2]), False),
        (torch.full((9,), 0.3), False),
        (torch.tensor([0.1, 0.2, 0.1, 0.2]), False),
        (torch.arange(9), False),
        (torch.linspace(0, 1, 9), True),
        (torch.arange(9.0).sin(), True),
        (torch.randn(9), True),
        (torch.randn(9, dtype=torch.cfloat), True),
        (torch.randn(9).bfloat16(), True),
    ],
)
def test_what_seems_learnt(values: Tensor, learnt: bool) -> None:
    assert seems_learnt(values) is learnt


class Tabled(Model):
    """Holds a table of sines that it declares."""

    pretrained = {"table": "sines, computed"}  # noqa: RUF012

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.register_buffer("table", torch.arange(9.0).sin())
        self.register_buffer("tables", torch.arange(9.0).cos())


class Outer(Model):
    """Is made of models."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.members = nn.ModuleList([Tabled(grid), Tabled(grid)])


def test_a_declaration_holds_for_its_name_and_inside_other_models() -> None:
    assert begins_as(Tabled(SMALL)).undeclared == ("tables",)
    assert begins_as(Outer(SMALL)).undeclared == ("members.0.tables", "members.1.tables")
    assert begins_as(Outer(SMALL)).named == "members.0.tables, members.1.tables"


@pytest.mark.slow
def test_every_registered_model_begins_alike_on_every_processor() -> None:
    """With the vector instructions of this one, and without any: seeds draw other last digits there."""
    code = (
        "import json; from uadbench import registry; from uadbench.models.initial_state import initial_state\n"
        "from uadbench.testing.examples import new_model\n"
        "found = {name: initial_state(lambda plugin=plugin: new_model(plugin))\n"
        "         for name, plugin in registry.models.load_all().items()}\n"
        "print(json.dumps({name: [begun.digest, begun.named] for name, begun in found.items()}))"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    run: Callable[..., Any] = subprocess.run
    there = json.loads(run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
    plugins = registry.models.load_all().items()
    here = {name: initial_state(partial(new_model, plugin, seed=1)) for name, plugin in plugins}
    assert {name: [begun.digest, begun.named] for name, begun in here.items()} == there
    assert not any(begun.undeclared for begun in here.values())
