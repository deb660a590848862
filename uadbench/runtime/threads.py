"""Many small computations side by side, each on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@contextmanager
def numpy_on_one_thread() -> Iterator[None]:
    """NumPy's matrix products on one thread inside.

    NumPy and torch have each their own pool of threads. Those of NumPy's OpenBLAS wait for more work in a busy loop,
    on cores that torch computes on: the forward pass after a small product takes half as long again.
    """
    from threadpoolctl import ThreadpoolController

    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
        yield


class SideBySide:
    """As many threads as torch has, this one among them, each of which computes alone.

    Scoring a case is a long chain of short operations. Splitting each of them over the cores costs a
    rendezvous every time, which takes milliseconds as soon as anything else runs on the machine. Whole
    chains side by side meet once; and what one thread computes cannot depend on how many there are.
    """

    def __init__(self) -> None:
        self.threads = torch.get_num_threads()
        self._others = ThreadPoolExecutor(max(1, self.threads - 1), initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """The answers, in the order of the items. The first error is raised."""
        waiting = iter(enumerate(items))  # handed out one by one: `next` on it is atomic
        answers: dict[int, Answer] = {}

        def work() -> None:
            for place, item in waiting:
                answers[place] = function(item)

        # the matrix library has one number of threads for the whole process, so it is lowered meanwhile
        torch.set_num_threads(1)
        try:
            others = [self._others.submit(work) for _ in range(self.threads - 1)]
            try:
                work()
            except BaseException:
                for _ in waiting:  # nobody begins another item
                    pass
                raise
            finally:
                for other in others:
                    other.result()
        finally:
            torch.set_num_threads(self.threads)
        return [answers[place] for place in range(len(items))]

    def each(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
        """The answers one by one, in the order of the items; no more than one round is held in memory."""
        for start in range(0, len(items), self.threads):
            yield from self.map(function, items[start : start + self.threads])
