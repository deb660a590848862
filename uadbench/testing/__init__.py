"""The contract of a model as checks that anybody can run on their own.

In a test file of another package::

    import pytest
    from uadbench.testing import CHECKS
    from mypackage import MyNet

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyNet)

Every check takes a model class and raises AssertionError with words that say what is wrong. `examine` runs them all,
and tells whatever else comes out of a model in words, too.
"""

from __future__ import annotations

from uadbench.testing.examining import CHECKS, Check, CheckOutcome, attempt, examine
from uadbench.testing.examples import RECIPE, SMALL, example_batches, example_scans, fitted

__all__ = [
    "CHECKS",
    "RECIPE",
    "SMALL",
    "Check",
    "CheckOutcome",
    "attempt",
    "examine",
    "example_batches",
    "example_scans",
    "fitted",
]
