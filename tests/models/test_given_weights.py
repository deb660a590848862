"""Weights of a file: read where they fit, and refused in a line that says what is wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from uadbench.errors import InputError
from uadbench.models.given_weights import CONVERT, PICKLES, find_weights, load_given
from uadbench.models.vae3d import VAE3D
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
    with pytest.raises(InputError, match=f"has no tensor '{first}', which the model has; are vae3d and its options"):
        load_given(small(), find_weights(file))
    save_file({**whole, "head.weight": torch.ones(1)}, file)
    with pytest.raises(InputError, match=r"holds 'head\.weight', which the model has not"):
        load_given(small(), find_weights(file))
    save_file({**whole, first: torch.full_like(whole[first], float("nan"))}, file)
    with pytest.raises(InputError, match=f"'{first}' holds numbers that are not finite"):
        load_given(small(), find_weights(file))


def test_a_damaged_or_changed_file_is_refused(file: Path) -> None:
    found = find_weights(file)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InputError, match="was changed while this ran"):
        load_given(small(), found)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_given(small(), find_weights(file))


@pytest.mark.parametrize("ending", sorted(PICKLES | {".PTH"}))
def test_a_pickle_is_never_opened(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"theirs{ending}"
    file.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InputError, match="a pickle runs whatever is in it") as refused:
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
