"""Parallel computation of many small tasks, each on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` threads inside the block; None changes nothing."""
    import torch

    former = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(former)


@contextmanager
def numpy_on_one_thread() -> Iterator[None]:
    """Run NumPy's matrix products on one thread within the context.

    NumPy and torch have separate thread pools. The threads of NumPy's OpenBLAS wait for work in a busy loop and compete
    with torch for cores, which makes a forward pass after a small matrix product 1.5 times as slow.
    """
    from threadpoolctl import ThreadpoolController

    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
        yield


class SideBySide:
    """A thread pool with as many threads as torch uses, including the current one; each task runs on one thread.

    Scoring a case is a long sequence of short operations. Parallelising each operation would require synchronisation
    every time, which takes milliseconds if other programs run on the machine. Running whole sequences in parallel
    requires synchronisation only once, and the result does not depend on the number of threads.
    """

    def __init__(self) -> None:
        self.threads = torch.get_num_threads()
        self._others = ThreadPoolExecutor(max(1, self.threads - 1), initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """Apply a function to items in parallel.

        Args:
            function: A function of one item.
            items: The items.

        Returns:
            The results, in the order of the items. If calls fail, the first error is raised.
        """
        waiting = iter(enumerate(items))  # shared by the threads, because `next` is atomic
        answers: dict[int, Answer] = {}

        def work() -> None:
            for index, item in waiting:
                answers[index] = function(item)

        # the number of threads of the matrix library applies to the whole process, so it is reduced temporarily
        torch.set_num_threads(1)
        try:
            others = [self._others.submit(work) for _ in range(self.threads - 1)]
            try:
                work()
            except BaseException:
                for _ in waiting:  # so that the other threads do not start another item
                    pass
                raise
            finally:
                for other in others:
                    other.result()
        finally:
            torch.set_num_threads(self.threads)
        return [answers[index] for index in range(len(items))]

    def each(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
        """Apply a function to items in parallel, with at most one result per thread in memory.

        Args:
            function: A function of one item.
            items: The items.

        Yields:
            The results, in the order of the items.
        """
        for start in range(0, len(items), self.threads):
            yield from self.map(function, items[start : start + self.threads])
