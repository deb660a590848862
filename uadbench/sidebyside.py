"""Many small computations side by side, each on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class SideBySide:
    """A pool of threads, as many as torch has, each of which computes alone.

    Scoring a case is a long chain of short operations. Splitting each of them over the cores costs a
    rendezvous every time, which takes milliseconds as soon as anything else runs on the machine. Whole
    chains side by side meet once; and what one thread computes cannot depend on how many there are.
    """

    def __init__(self) -> None:
        self.threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """The answers, in the order of the items. The first error is raised."""
        # the matrix library has one number of threads for the whole process, so it is lowered meanwhile
        torch.set_num_threads(1)
        try:
            return list(self._pool.map(function, items))
        finally:
            torch.set_num_threads(self.threads)

    def each(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
        """The answers one by one, in the order of the items; no more than one round is held in memory."""
        for start in range(0, len(items), self.threads):
            yield from self.map(function, items[start : start + self.threads])
