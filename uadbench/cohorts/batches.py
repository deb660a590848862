"""Batches of normalised scans, in a fixed or a seeded random order that is the same on every machine."""

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
    """Normalise volumes and combine them in a batch.

    Args:
        volumes: N volumes, each (X, Y, Z) float32, SUVR.
        intensities: The intensity scale of each volume.
        scans: The scans from which age and sex are taken.
        seeds: The seed of each scan.

    Returns:
        The batch, with images (N, 1, X, Y, Z).
    """
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
    """An iterable of batches; each iteration yields the same batches.

    Attributes:
        scans: The scans.
        intensities: The intensity scale of each scan.
        batch_size: The number of scans in a batch; the last batch may be smaller.
        seed: The seed of the order and of the scans. The seed of a scan is derived from (seed, shuffle, participant,
            session).
        shuffle: None keeps the order of the scans; an integer, such as an epoch, gives a random order that depends only
            on (seed, shuffle).
        device: The device of the batches.
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
        """Shuffle the scans for an epoch.

        Args:
            epoch: The epoch.

        Returns:
            The same scans in the order of that epoch.
        """
        return replace(self, shuffle=epoch)
