"""An external tool as a model that looks up its answer to each image in the tool's output files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uadbench.errors import Unfinished
from uadbench.exchange.answers import Answers, read_answer
from uadbench.exchange.inputs import voxel_digest
from uadbench.models.base import Model, ReconstructionModel
from uadbench.types import Batch


@dataclass(frozen=True)
class AnswerBook:
    """The answers of a tool, found by image content.

    Attributes:
        answers: The files of the answers.
        names: Name of each image, by the hash of its voxels.
    """

    answers: Answers
    names: Mapping[str, str]

    def look_up(self, files: Mapping[str, Path], images: Tensor) -> Tensor:
        """Read the answers to a batch of images.

        Args:
            files: The files of one kind of answer, by image name.
            images: (N, 1, X, Y, Z) float32.

        Returns:
            The answers, (N, 1, X, Y, Z) float32.

        Raises:
            Unfinished: If an image is not part of the export.
        """
        volumes = []
        for image in images[:, 0].cpu().numpy():
            name = self.names.get(voxel_digest(image))
            if name is None:
                raise Unfinished("an image to be scored is not in the export; export again")
            volumes.append(read_answer(files[name], self.answers.grid))
        return torch.from_numpy(np.stack(volumes))[:, None].to(images.device)


class FromMaps(Model):
    """A tool that gives anomaly maps only."""

    def __init__(self, book: AnswerBook) -> None:
        super().__init__(book.answers.grid)
        self.book = book

    def anomaly_map(self, batch: Batch) -> Tensor:
        """The tool's own maps."""
        return self.book.look_up(self.book.answers.maps, batch.images)


class FromReconstructions(ReconstructionModel):
    """A tool that gives reconstructions only; its map is reconstruction - input."""

    def __init__(self, book: AnswerBook) -> None:
        super().__init__(book.answers.grid)
        self.book = book

    def reconstruct(self, batch: Batch) -> Tensor:
        """The tool's reconstructions."""
        return self.book.look_up(self.book.answers.reconstructions, batch.images)


class FromBoth(FromReconstructions):
    """A tool that gives both reconstructions and anomaly maps."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        """The tool's own maps."""
        return self.book.look_up(self.book.answers.maps, batch.images)


Tool = FromMaps | FromReconstructions


def model_class(answers: Answers) -> type[Tool]:
    """The class for a tool with these answers."""
    if not answers.reconstructions:
        return FromMaps
    return FromBoth if answers.maps else FromReconstructions
