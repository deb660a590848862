"""A tool as a model: it is shown an image, and gives the answer that lies in a file."""

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
    """Answers by what is asked: `names` maps the hash of an image's voxels to the name that its answers have."""

    answers: Answers
    names: Mapping[str, str]

    def look_up(self, files: Mapping[str, Path], images: Tensor) -> Tensor:
        """The answers to images (N, 1, X, Y, Z), of the same shape.

        Raises:
            Unfinished: For an unknown image.
        """
        found = []
        for image in images[:, 0].cpu().numpy():
            name = self.names.get(voxel_digest(image))
            if name is None:
                raise Unfinished("an image is scored that is not in the export; export again")
            found.append(read_answer(files[name], self.answers.grid))
        return torch.from_numpy(np.stack(found))[:, None].to(images.device)


class FromMaps(Model):
    """A tool that has anomaly maps and no reconstructions."""

    def __init__(self, book: AnswerBook) -> None:
        super().__init__(book.answers.grid)
        self.book = book

    def anomaly_map(self, batch: Batch) -> Tensor:
        """The tool's own maps."""
        return self.book.look_up(self.book.answers.maps, batch.images)


class FromReconstructions(ReconstructionModel):
    """A tool that has reconstructions; its map is reconstruction - input."""

    def __init__(self, book: AnswerBook) -> None:
        super().__init__(book.answers.grid)
        self.book = book

    def reconstruct(self, batch: Batch) -> Tensor:
        """The tool's reconstructions."""
        return self.book.look_up(self.book.answers.reconstructions, batch.images)


class FromBoth(FromReconstructions):
    """A tool that has reconstructions, and maps of its own."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        """The tool's own maps."""
        return self.book.look_up(self.book.answers.maps, batch.images)


Tool = FromMaps | FromReconstructions


def model_class(answers: Answers) -> type[Tool]:
    """Which of the three a tool is."""
    if not answers.reconstructions:
        return FromMaps
    return FromBoth if answers.maps else FromReconstructions
