"""Computing side by side: answers in order, one thread each, errors raised, threads restored."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from uadbench.runtime.threads import SideBySide, numpy_on_one_thread


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_answers_are_in_the_order_of_the_items() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert SideBySide().map(slow_at_first, range(9)) == [n * n for n in range(9)]
    assert SideBySide().map(slow_at_first, []) == []


def test_two_threads_work_and_this_is_one_of_them() -> None:
    together = threading.Barrier(2, timeout=300)  # only two at once get past it

    def meet(_: int) -> tuple[str, int]:
        together.wait()
        return threading.current_thread().name, torch.get_num_threads()

    names, threads = zip(*SideBySide().map(meet, range(2)), strict=True)
    assert len(set(names)) == 2 and threading.current_thread().name in names
    assert threads == (1, 1)
    assert torch.get_num_threads() == 2


def test_an_error_is_raised_and_threads_are_restored() -> None:
    def fails(item: int) -> int:
        if item == 3:
            raise KeyError(item)
        return item

    with pytest.raises(KeyError):
        SideBySide().map(fails, range(8))
    assert torch.get_num_threads() == 2


def test_one_thread_is_enough() -> None:
    torch.set_num_threads(1)
    assert SideBySide().map(lambda item: item + 1, range(3)) == [1, 2, 3]


def test_numpys_own_threads_rest() -> None:
    def of_numpy() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"}

    np.ones((9, 9)) @ np.ones((9, 9))
    before = of_numpy()
    with numpy_on_one_thread():
        assert of_numpy() <= {1}
        assert torch.get_num_threads() == 2
    assert of_numpy() == before
