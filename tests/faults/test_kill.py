"""kill -9 at any moment: the same command, given again, ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import SAVE_AT_ONCE, SMOKE, hashes_of, require_whole, run_of

pytestmark = pytest.mark.nightly

KILLS = 20
MOST_STARTS = 100
COMMAND = (*SMOKE, "--model", "vae3d", "--model", "mean")


def test_killed_as_soon_as_it_is_born(nursery, tmp_path: Path) -> None:
    for _ in range(20):
        child = nursery.start(*COMMAND, "--output", tmp_path)
        child.kill()
        assert child.ended() == (-signal.SIGKILL, "", "")


@pytest.mark.fault(f"kill -9 at {KILLS} random moments of a smoke run of vae3d and mean")
def test_killed_again_and_again(nursery, undisturbed, tmp_path: Path, outcome) -> None:
    expected = {name: digest for name, digest in hashes_of(undisturbed).items() if name in ("vae3d", "mean")}
    begun = time.monotonic()
    assert nursery.start(*COMMAND, "--output", tmp_path / "measured", before=SAVE_AT_ONCE).wait() == 0
    length = time.monotonic() - begun
    moments, killed, ended = random.Random(9), 0, 0
    for _ in range(MOST_STARTS):
        output = tmp_path / str(ended)
        whole, begun = not output.exists(), time.monotonic()
        child = nursery.start(*COMMAND, "--output", output, before=SAVE_AT_ONCE)
        if killed < KILLS and not child.ends_within(moments.uniform(0.0, length)):
            child.kill()
        code, _, err = child.ended()
        if code == -signal.SIGKILL:
            require_whole(output)
            killed += 1
            continue
        assert code == 0, err
        assert hashes_of(output) == expected
        if whole:  # the machine may be less busy by now
            length = min(length, time.monotonic() - begun)
        for model in expected:
            run = run_of(output, model)
            assert not list(run.glob(".part-*"))
            assert all((run / "figures" / f"{name}.png").is_file() for name in ("severity", "example"))
        ended += 1
        if killed == KILLS:
            break
    assert killed == KILLS
    outcome(
        f"started again {killed} times in {ended} output folders; every file whole after every kill, nothing left "
        f"over, scores equal to an undisturbed run (vae3d {expected['vae3d'][:8]}, mean {expected['mean'][:8]})"
    )
