"""Files damaged between two runs: what is sound is reused, what is not is found and made again."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.faults.conftest import GAIN, SMOKE, Call, hashes_of, run_of
from uadbench.cohorts.cache import IMAGES, INDEX
from uadbench.cohorts.intake import cache_folder
from uadbench.errors import InputError
from uadbench.models.checkpoint import CARD, CURVE, WEIGHTS, build_model, has_model
from uadbench.results.examples import EXAMPLES
from uadbench.results.schema import RESULT, Result, read_result
from uadbench.results.scores import SCORES, has_scores, read_scores
from uadbench.runs.fold_data import PARTS
from uadbench.runs.keys import STATE
from uadbench.runtime.files import content_hash, read_sealed
from uadbench.runtime.progress import Silent
from uadbench.testing import SMALL, example_batches
from uadbench.tracking import LOGGED
from uadbench.training.loop import _State, train

pytestmark = pytest.mark.slow


def truncated(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def flipped(raw: bytes) -> bytes:
    """One bit in the middle; of a text, that of a digit, which leaves another digit; of a table or archive, one that
    is read.
    """
    for place in range(len(raw) // (4 if raw[:4] == b"PAR1" else 2), len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        if raw[:1] == b"{" and not raw[place : place + 1].isdigit():
            continue
        if raw[:4] == b"PAR1" and not reads_otherwise(changed, raw):
            continue
        if raw[:2] == b"PK" and is_whole(changed):
            continue
        return changed
    raise AssertionError("nothing in it can be damaged")


def reads_otherwise(changed: bytes, raw: bytes) -> bool:
    """Whether a Parquet file is read without complaint, and tells something else."""
    try:
        return not pd.read_parquet(io.BytesIO(changed)).equals(pd.read_parquet(io.BytesIO(raw)))
    except Exception:
        return False


def is_whole(raw: bytes) -> bool:
    """Whether an archive has all that its checksums are of; dates, for one, are not."""
    try:
        return zipfile.ZipFile(io.BytesIO(raw)).testzip() is None
    except Exception:
        return False


DAMAGES: dict[str, Callable[[bytes], bytes]] = {"cut in half": truncated, "a bit flipped": flipped}


def damage(file: Path, how: str) -> None:
    raw = file.read_bytes()
    file.write_bytes(DAMAGES[how](raw))
    assert file.read_bytes() != raw


def science(result: Result) -> dict[str, Any]:
    """What a result says, without what it cost and when it was made."""
    return result.model_dump(exclude={"cost", "provenance"})


def run_again(done: Path, call: Call) -> str:
    """The same command: what it told. Its result is that of before."""
    code, _, err = call(*SMOKE, "--model", GAIN, "--output", done)
    assert code == 0, err
    return err


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("file", [RESULT, SCORES])
@pytest.mark.fault("{file}: {how}")
def test_a_damaged_result(file: str, how: str, done: Path, undisturbed: Path, call: Call, outcome) -> None:
    run = run_of(done, "Gain")
    before = (run / WEIGHTS).stat().st_mtime_ns
    damage(run / file, how)
    err = run_again(done, call)
    assert "evaluating Gain" in err and "training" not in err
    assert (run / WEIGHTS).stat().st_mtime_ns == before
    assert hashes_of(done) == hashes_of(undisturbed)
    assert science(read_result(run)) == science(read_result(run_of(undisturbed, "Gain")))
    outcome("found; evaluated again from the weights, and not trained again; result equal")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("file", [WEIGHTS, CARD, CURVE])
@pytest.mark.fault("{file} of a run that is not evaluated yet: {how}")
def test_a_damaged_model(file: str, how: str, done: Path, undisturbed: Path, call: Call, outcome) -> None:
    run = run_of(done, "Gain")
    (run / RESULT).unlink()
    damage(run / file, how)
    code, _, err = call("run", "--model", GAIN, "--protocol", "smoke", "--checkpoint", run, "--dry-run")
    assert (code == 2 and "is corrupted" in err) == (file == WEIGHTS)
    assert "training Gain" in run_again(done, call)
    assert hashes_of(done) == hashes_of(undisturbed)
    assert science(read_result(run)) == science(read_result(run_of(undisturbed, "Gain")))
    outcome("found; trained again; result equal")


@pytest.mark.parametrize("file", [WEIGHTS, CARD, CURVE])
@pytest.mark.fault("{file} of a finished run: a bit flipped")
def test_a_damaged_model_of_a_finished_run(file: str, done: Path, undisturbed: Path, call: Call, outcome) -> None:
    damage(run_of(done, "Gain") / file, "a bit flipped")
    assert "finished earlier" in run_again(done, call)
    assert hashes_of(done) == hashes_of(undisturbed)
    outcome("the result is sound, and reused")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.fault("pictures of a finished run: {how}")
def test_damaged_pictures(how: str, done: Path, undisturbed: Path, database: str, call: Call, outcome) -> None:
    run = run_of(done, "Gain")
    damage(run / EXAMPLES, how)
    (run / "figures" / "example.png").unlink()
    err = run_again(done, call)
    assert "finished earlier" in err and f"{EXAMPLES}: cannot be read" in err
    assert hashes_of(done) == hashes_of(undisturbed)
    code, _, err = call("track", run, "--tracking-uri", database)
    assert code == 0 and "figures could not be drawn" in err and (run / LOGGED).is_file()
    code, _, err = call("report", run)
    assert code == 2 and f"{EXAMPLES}: cannot be read" in err and len(err.strip().splitlines()) == 1
    outcome("the result is sound, reused and logged; 'report' says in one line what is missing")


@pytest.fixture(scope="module")
def begun(nursery, tmp_path_factory) -> Path:
    """A run that was killed after two of its four epochs, in which it had put everything aside."""
    output = tmp_path_factory.mktemp("begun")
    dies = (
        "import os, signal\n"
        "from uadbench.training import loop as training\n"
        "from uadbench.runs import keys\n"
        "keys.SAVE_EVERY_S = 0.0\n"
        "plain = training._State.save\n"
        "def save(state):\n"
        "    plain(state)\n"
        "    if state.epoch == 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "training._State.save = save\n"
    )
    assert nursery.start(*SMOKE, "--model", GAIN, "--output", output, before=dies).wait() == -9
    return output


@pytest.mark.parametrize("how", [*DAMAGES, "nothing"])
@pytest.mark.fault("training.safetensors: {how}")
def test_a_damaged_state(how: str, begun: Path, undisturbed: Path, tmp_path: Path, call: Call, outcome) -> None:
    output = shutil.copytree(begun, tmp_path / "runs")
    if how in DAMAGES:
        damage(run_of(output, "Gain") / STATE, how)
    err = run_again(output, call)
    assert ("training continues after epoch 2" in err) == (how == "nothing")
    assert hashes_of(output)["Gain"] == hashes_of(undisturbed)["Gain"]
    assert not (run_of(output, "Gain") / STATE).exists()
    outcome("continued; scores equal" if how == "nothing" else "found; trained from the start; scores equal")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.fault("scores put aside in mid-evaluation: {how}")
def test_damaged_parts_of_an_evaluation(
    how: str, done: Path, undisturbed: Path, call: Call, monkeypatch: pytest.MonkeyPatch, outcome
) -> None:
    from uadbench.evaluation.evaluator import Evaluator

    run, plain, asked = run_of(done, "Gain"), Evaluator.score_scan, list[str]()
    (run / RESULT).unlink()

    def dies(self, scan, *following):
        asked.append(scan.participant)
        if len(asked) == 5:
            raise RuntimeError("killed")
        return plain(self, scan, *following)

    monkeypatch.setattr("uadbench.runs.keys.SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(Evaluator, "score_scan", dies)
    assert call(*SMOKE, "--model", GAIN, "--output", done)[0] == 3
    parts = sorted(run.glob("evaluation/*/*.parquet"))
    assert [part.stem for part in parts] == [f"{number:06d}" for number in range(4)]
    damage(parts[1], how)
    err = run_again(done, call)
    assert "evaluation continues after 1 scans" in err
    assert len(asked) == 5 + 7
    assert hashes_of(done) == hashes_of(undisturbed)
    outcome("found; evaluated again from the damaged scan on, scores equal")


BITS = 60


def flips(file: Path, seed: str):
    """The file with one bit changed, at places all over it, one after the other; then as it was."""
    raw, places = file.read_bytes(), random.Random(seed)
    for _ in range(BITS):
        changed = bytearray(raw)
        changed[places.randrange(len(raw))] ^= 1 << places.randrange(8)
        file.write_bytes(changed)
        yield
    file.write_bytes(raw)


@pytest.mark.fault(f"any bit of result, scores, weights, card, curve or training state ({BITS} at random of each)")
def test_no_flipped_bit_is_taken(done: Path, tmp_path: Path, outcome) -> None:
    run = run_of(done, "Gain")
    result, table = read_result(run), read_scores(run)
    for _ in flips(run / RESULT, "result"):
        try:
            assert read_result(run) == result
        except InputError:
            continue
    for _ in flips(run / SCORES, "scores"):
        assert not has_scores(run, result.score_hash) or read_scores(run).equals(table)
    for name in (WEIGHTS, CURVE):
        for _ in flips(run / name, name):
            assert not has_model(run, result.fit_key)
    card = read_sealed(run / CARD)
    for _ in flips(run / CARD, "card"):  # a seal that has lost its name seals nothing, and the rest is sound
        assert not has_model(run, result.fit_key) or card.items() <= read_sealed(run / CARD).items()
    assert has_model(run, result.fit_key)
    _no_flipped_bit_of_a_state_is_taken(tmp_path / STATE)
    outcome("none is taken for what was written")


def _no_flipped_bit_of_a_state_is_taken(file: Path) -> None:
    batches = example_batches(9)
    options = {"patience": 0, "state_file": file, "progress": Silent(), "save_every_s": 0.0}
    train(build_model("ae3d", SMALL, {}, seed=5), batches, batches, epochs=1, **options)
    state = _State(build_model("ae3d", SMALL, {}, seed=5), file)
    assert state.load()
    sound = {name: value.clone() for name, value in state.model.state_dict().items()}
    for _ in flips(file, "state"):
        other = _State(build_model("ae3d", SMALL, {}, seed=5), file)
        if other.load():
            assert other.curve == state.curve and other.epoch == state.epoch
            assert all(value.equal(sound[name]) for name, value in other.model.state_dict().items())


def cut_images(folder: Path, places: list[int]) -> None:
    os.truncate(folder / IMAGES, places[37])


def flip_images(folder: Path, places: list[int]) -> None:
    with (folder / IMAGES).open("r+b") as images:
        for place in (places[0], places[20], places[55]):
            images.seek(place + 5000)
            byte = images.read(1)[0]
            images.seek(place + 5000)
            images.write(bytes([byte ^ 1]))


def age_index(folder: Path, places: list[int]) -> None:
    """The scans of another version of a cohort have other keys."""
    lines = [json.loads(line) for line in (folder / INDEX).read_text().splitlines() if line]
    changed = [json.dumps([content_hash("another version", key), *rest]) for key, *rest in lines]
    (folder / INDEX).write_text("\n".join(changed) + "\n")


CACHES = {
    "cut short": (cut_images, 92 - 37, True),
    "three bits flipped": (flip_images, 3, True),
    "of another version": (age_index, 92, False),
}
"""What is done to the cache of 92 scans, how many of them must be made again, and whether that is told as damage."""


@pytest.mark.parametrize("how", CACHES)
@pytest.mark.fault("cache of the scans: {how}")
def test_a_damaged_cache(
    how: str, fold_data, own_cache: Path, undisturbed: Path, tmp_path: Path, call: Call, monkeypatch, outcome
) -> None:
    spoil, again, told = CACHES[how]
    whole = cache_folder(fold_data.cohort, fold_data.protocol.lattice)
    folder = shutil.copytree(whole, tmp_path / "cache" / whole.relative_to(own_cache))
    slots = sorted(slot for part in PARTS for slot in fold_data._stacks[part].rows["slot"])
    spoil(folder, [4 * fold_data.protocol.lattice.size * slot for slot in slots])
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "cache"))
    code, _, err = call(*SMOKE, "--model", "mean", "--output", tmp_path / "runs")
    assert code == 0, err
    assert f"phantom: {again} scans on" in err
    assert (f"{again} stored images are corrupted" in err) == told
    assert hashes_of(tmp_path / "runs")["mean"] == hashes_of(undisturbed)["mean"]
    outcome(f"found by hash; {again} of 92 scans made again, scores equal")
