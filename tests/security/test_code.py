"""A data file that names a Python file does not run it; a checkpoint that is no checkpoint is told in a line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from tests.security import hostile
from tests.security.limits import measured
from uadbench.errors import InputError
from uadbench.exchange.manifest import fold_data_of, manifest_of
from uadbench.leaderboard.entries import read_untrusted
from uadbench.models.checkpoint import load_weights
from uadbench.models.vae3d import VAE3D
from uadbench.models.weights_file import find_weights, load_given
from uadbench.runtime.progress import Silent
from uadbench.testing import SMALL

REPOSITORY = Path(__file__).parents[2]
CODE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nclass Evil: pass\n"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A Python file that leaves a trace when it is run."""
    (tmp_path / "evil.py").write_text(CODE)
    yield tmp_path / "evil.py"
    assert not (tmp_path / "ran").exists()


def test_the_cohort_of_an_export_is_no_code(code: Path, fold_data, tmp_path: Path) -> None:
    manifest = manifest_of(fold_data, "phantom", ".nii.gz")
    told = manifest.cohort.model_copy(update={"reference": f"{code}:Evil"})
    with pytest.raises(InputError, match=r"is a code file; if you trust it, give --cohort"):
        fold_data_of(tmp_path, manifest.model_copy(update={"cohort": told}), None, Silent())


def test_options_of_a_run_folder_are_no_code(code: Path, tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    told = {"members": f"zscore,{code}:Evil", "deep": [{"a": f"{code}:Evil"}], "recipe": "quick"}
    (tmp_path / "model.json").write_text(json.dumps({"options": told}))
    assert find_weights(tmp_path).options == {"recipe": "quick"}


def test_options_of_a_committed_result_are_no_code(code: Path, tmp_path: Path) -> None:
    committed = sorted((REPOSITORY / "leaderboard" / "results").rglob("*.json"))[0]
    content = json.loads(committed.read_text(encoding="utf-8"))
    content["model"] |= {"name": "ensemble", "options": {"members": f"{code}:Evil"}}
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="option members of the model refers to a local code file"):
        read_untrusted(tmp_path / "r.json")


@pytest.mark.parametrize(
    "card", ["[" * 100_000, '{"sha256": [], "options": []}', '{"sha256": {"model.safetensors": 3}}', "3", '{"seal": 1}']
)
def test_a_card_that_is_none(card: str, tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    (tmp_path / "model.json").write_text(card)
    try:
        assert find_weights(tmp_path).options == {}
    except InputError as error:
        assert "is corrupted" in str(error)


def tensors(header: bytes, content: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + content


def one(dtype: str, shape: list[int], end: int, size: int) -> bytes:
    """A file of one tensor that claims the bytes up to `end`, and has `size`."""
    return tensors(json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}).encode(), bytes(size))


NO_WEIGHTS = {
    "empty": b"",
    "pickle": b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.",
    "zip": b"PK\x03\x04" + bytes(200),
    "HTML": b"<!DOCTYPE html><html><body>Not found</body></html>",
    "a header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header beyond the end": struct.pack("<Q", 99_000_000) + b"{}",
    "no header": struct.pack("<Q", 0),
    "a deep header": tensors(b"[" * 100_000),
    "a list for a header": tensors(b"[]"),
    "no UTF-8": tensors(b"\xff\xfe"),
    "nothing in it": tensors(b"{}"),
    "4 TB": one("F32", [10**12], 4 * 10**12, 4),
    "2**64 numbers": one("F32", [2**32, 2**32], 4, 4),
    "a negative shape": one("F32", [-1], 4, 4),
    "offsets that go back": tensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', bytes(4)),
    "numbers that torch has not": one("F8_E8M0", [1], 1, 1),
    "numbers of 4 bits": one("F4", [2], 1, 1),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_weights_that_are_none(kind: str, tmp_path: Path) -> None:
    """A pickle under another name is not opened as one."""
    file = tmp_path / "theirs.safetensors"
    file.write_bytes(NO_WEIGHTS[kind])
    with pytest.raises(InputError) as refused:
        load_given(VAE3D(SMALL, width=2, latent=3), find_weights(file))
    message = str(refused.value)
    assert message.startswith(f"{file}: ") and message.isprintable() and not (tmp_path / "ran").exists()
    assert "invalid safetensors file" in message or kind == "nothing in it"


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.int64])
def test_weights_of_other_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    model = VAE3D(SMALL, width=2, latent=3)
    whole = dict(model.state_dict())
    first = next(iter(whole))
    (tmp_path / "theirs.safetensors").write_bytes(save({**whole, first: whole[first].to(dtype)}))
    found = find_weights(tmp_path / "theirs.safetensors")
    expected = whole[first].clone()
    if dtype is torch.complex64:
        with pytest.raises(InputError, match=f"'{first}' holds complex numbers"):
            load_given(model, found)
    else:
        load_given(model, found)
        assert torch.equal(model.state_dict()[first], expected.to(dtype).float())


def test_weights_beyond_float32_are_not_finite(tmp_path: Path) -> None:
    model = VAE3D(SMALL, width=2, latent=3)
    whole = {name: value.double() for name, value in model.state_dict().items()}
    first = next(iter(whole))
    whole[first] = torch.full_like(whole[first], 1e300)
    save_file(whole, tmp_path / "theirs.safetensors")
    with pytest.raises(InputError, match="holds numbers that are not finite"):
        load_given(model, find_weights(tmp_path / "theirs.safetensors"))


def test_a_file_of_gigabytes_is_not_read_for_a_small_model(tmp_path: Path) -> None:
    model = VAE3D(SMALL, width=2, latent=3)
    save_file(model.state_dict(), tmp_path / "theirs.safetensors")
    with (tmp_path / "theirs.safetensors").open("r+b") as handle:
        handle.truncate(300_000_000)
    with pytest.raises(InputError, match="has 300000000 bytes; at most"):
        load_given(model, find_weights(tmp_path / "theirs.safetensors"))


def two(first: tuple[int, int], second: tuple[int, int], names: str = "ab", shape: str = "[1]") -> bytes:
    """A file of two tensors, by their offsets."""
    told = ",".join(
        f'"{name}":{{"dtype":"F32","shape":{shape},"data_offsets":{list(offsets)}}}'
        for name, offsets in zip(names, (first, second), strict=True)
    )
    return tensors(f"{{{told}}}".encode(), bytes(8))


HEADERS = {
    "tensors that overlap": two((0, 4), (0, 4)),
    "tensors that overlap in part": two((0, 4), (2, 6)),
    "a gap": two((0, 4), (8, 12)),
    "beyond the end": two((0, 4), (4, 4096)),
    "a tensor twice": two((0, 4), (4, 8), names="aa"),
    "a huge axis beside an empty one": two((0, 4), (4, 8), shape=f"[0, {2**62}]"),
    "more bytes than tensors": tensors(b"{}", bytes(8)),
    "offsets that are text": tensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":["0","4"]}}', bytes(4)),
    "a tensor that is a number": tensors(b'{"a":3}', bytes(4)),
    "a header of 100 MB": struct.pack("<Q", 90_000_000) + b" " * 90_000_000,
    "names of megabytes": tensors(json.dumps({f"t{n}": [n] for n in range(600_000)}).encode()),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_of_weights_that_lie(kind: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.safetensors").write_bytes(HEADERS[kind])
    with measured() as peak, pytest.raises(InputError, match=r"invalid safetensors file|bytes"):
        load_weights(VAE3D(SMALL, width=2, latent=3), tmp_path / "theirs.safetensors")
    assert peak.bytes < 2 * len(HEADERS[kind]) + (64 << 20)


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_weights_of_a_run_folder_are_a_file(kind: str, tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "mine")
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "model.safetensors"
    hostile.linked(file, tmp_path / "mine") if kind == "link" else hostile.fifo(file)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        find_weights(tmp_path / "run")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_weights(VAE3D(SMALL, width=2, latent=3), file)
