"""Weights of a file: read where they fit, and refused in a line that says what is wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from uadbench.errors import InputError
from uadbench.models.base import Model
from uadbench.models.vae3d import VAE3D
from uadbench.models.weights_file import CONVERT, PICKLES, find_weights, load_given
from uadbench.testing import SMALL


def small(latent: int = 3) -> VAE3D:
    return VAE3D(SMALL, width=2, latent=latent)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(small().state_dict(), tmp_path / "theirs.safetensors")
    return tmp_path / "theirs.safetensors"


def test_they_are_read_as_they_are(file: Path) -> None:
    found = find_weights(file)
    assert found.digest == hashlib.sha256(file.read_bytes()).hexdigest() and found.options == {}
    model = small()
    load_given(model, found)
    again = {name: value.clone() for name, value in model.state_dict().items()}
    load_given(model, find_weights(file))
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_half_precision_becomes_float32(file: Path) -> None:
    save_file({name: value.half() for name, value in small().state_dict().items()}, file)
    model = small()
    load_given(model, find_weights(file))
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_a_run_folder_tells_its_options(tmp_path: Path) -> None:
    save_file(small().state_dict(), tmp_path / "model.safetensors")
    assert find_weights(tmp_path).options == {}
    (tmp_path / "model.json").write_text(json.dumps({"options": {"latent": 3}}))
    assert find_weights(tmp_path).options == {"latent": 3}
    assert find_weights(tmp_path / "model.safetensors").options == {}
    for damaged in ("{", "[]", '{"options": 3}'):
        (tmp_path / "model.json").write_text(damaged)
        assert find_weights(tmp_path).options == {}


def test_what_does_not_fit_names_the_first_tensor(file: Path) -> None:
    with pytest.raises(InputError, match=r"'posterior.weight' is \(6, \d+\) in the file and \(8, \d+\) in the model"):
        load_given(small(latent=4), find_weights(file))
    whole = dict(small().state_dict())
    first = next(iter(whole))
    save_file({name: value for name, value in whole.items() if name != first}, file)
    with pytest.raises(InputError, match=f"missing tensor '{first}'; are vae3d and its options"):
        load_given(small(), find_weights(file))
    save_file({**whole, "head.weight": torch.ones(1)}, file)
    with pytest.raises(InputError, match=r"unexpected tensor 'head\.weight'"):
        load_given(small(), find_weights(file))
    save_file({**whole, first: torch.full_like(whole[first], float("nan"))}, file)
    with pytest.raises(InputError, match=f"'{first}' holds numbers that are not finite"):
        load_given(small(), find_weights(file))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "model.module."])
def test_the_prefix_of_a_wrapper_is_ignored(prefix: str, file: Path) -> None:
    theirs = small().state_dict()
    save_file({prefix + name: value for name, value in theirs.items()}, file)
    model = small()
    assert load_given(model, find_weights(file)) == prefix
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())
    save_file({**{prefix + name: value for name, value in theirs.items()}, "loss.weight": torch.ones(1)}, file)
    with pytest.raises(InputError, match=r"'loss\.weight'"):
        load_given(small(), find_weights(file))


def test_a_prefix_that_is_the_model_s_own_stays(file: Path) -> None:
    """A model whose own names begin with `model.`, bare and wrapped once more."""
    theirs = {"model.model.weight": torch.ones(2), "model.bias": torch.zeros(2)}
    for prefix in ("", "model.", "module."):
        save_file({prefix + name: value for name, value in theirs.items()}, file)
        own = WithNames(theirs)
        assert load_given(own, find_weights(file)) == prefix
        assert torch.equal(own.state_dict()["model.model.weight"], torch.ones(2))


class WithNames(Model):
    """A model that has zeros under given names."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__(SMALL)
        for name, value in tensors.items():
            *path, last = name.split(".")
            module: nn.Module = self
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_buffer(last, torch.zeros_like(value))


def test_a_damaged_or_changed_file_is_refused(file: Path) -> None:
    found = find_weights(file)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InputError, match="changed during the run"):
        load_given(small(), found)
    with pytest.raises(InputError, match="invalid safetensors file"):
        load_given(small(), find_weights(file))


@pytest.mark.parametrize("ending", sorted(PICKLES | {".PTH"}))
def test_a_pickle_is_never_opened(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"theirs{ending}"
    file.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InputError, match="pickle files can execute code") as refused:
        find_weights(file)
    assert CONVERT in str(refused.value) and "\n" not in str(refused.value)


def test_the_line_that_converts_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = small()
    exec(CONVERT, {"model": model})
    again = small()
    load_given(again, find_weights(Path("weights.safetensors")))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_nothing_there(tmp_path: Path) -> None:
    for reference in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError, match=r"no such file; give a \.safetensors file, or a run folder"):
            find_weights(reference)
