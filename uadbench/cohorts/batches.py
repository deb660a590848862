"""Scans in, batches out: normalised, in a fixed or a seeded order, the same whatever the machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from uadbench.runtime.files import keyed_seed
from uadbench.runtime.memory import release_pages
from uadbench.types import Batch, Intensity, Scan, Volume

SEX_CODE = {"F": 0.0, "M": 1.0}


def make_batch(
    volumes: Sequence[Volume], intensities: Sequence[Intensity], scans: Sequence[Scan], seeds: Sequence[int]
) -> Batch:
    """Normalise volumes (X, Y, Z), SUVR, of `scans` and put them into one Batch with images (N, 1, X, Y, Z)."""
    images = np.empty((len(volumes), 1, *volumes[0].shape), dtype=np.float32)
    for image, volume, intensity in zip(images, volumes, intensities, strict=True):
        intensity.normalise(volume, out=image[0])
    return Batch(
        images=torch.from_numpy(images),
        age=torch.tensor([scan.age for scan in scans], dtype=torch.float32),
        sex=torch.tensor([SEX_CODE.get(scan.sex, float("nan")) for scan in scans], dtype=torch.float32),
        seeds=list(seeds),
    )


@dataclass(frozen=True)
class Batches:
    """An iterable of batches over `scans`; every iteration gives the same batches again.

    `shuffle` None keeps the scans' order; an integer (an epoch's number, say) gives an order that is
    a pure function of (seed, shuffle). Each scan's seed is keyed by (seed, shuffle, participant, session).
    """

    scans: Sequence[Scan]
    intensities: Sequence[Intensity]
    batch_size: int
    seed: int
    shuffle: int | None = None
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return math.ceil(len(self.scans) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = np.arange(len(self.scans))
        if self.shuffle is not None:
            order = np.random.default_rng(keyed_seed("order", self.seed, self.shuffle)).permutation(order)
        for start in range(0, len(order), self.batch_size):
            chosen = [int(i) for i in order[start : start + self.batch_size]]
            scans = [self.scans[i] for i in chosen]
            batch = make_batch(
                [scan.data for scan in scans],
                [self.intensities[i] for i in chosen],
                scans,
                [keyed_seed("scan", self.seed, self.shuffle, *scan.key) for scan in scans],
            )
            for scan in scans:
                release_pages(scan.data)
            yield batch.to(self.device)

    def shuffled(self, epoch: int) -> Batches:
        """The same scans in the order of one epoch."""
        return replace(self, shuffle=epoch)
