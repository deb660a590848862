"""A model that says in which process it learns, and waits there in mid-training until it may go on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from uadbench.models.vae3d import VAE3D
from uadbench.types import Batch

FOLDER, GO = "WAITING_FOLDER", "go"
LONGEST = 3600.0
"""Seconds after which a process is left alone that nobody has ended."""


class Waiting(VAE3D):
    """A vae3d that waits after its first step, where the environment names a folder, for a file `go` in it."""

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield from super().losses(batch)
        if FOLDER in os.environ:
            wait(Path(os.environ[FOLDER]))


def wait(folder: Path) -> None:
    """Until there is a file `go`; meanwhile there is one that is called as this process."""
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + LONGEST
    while not (folder / GO).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
