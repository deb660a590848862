"""Checks of the contract of a model, for use in tests of any package.

In a test file of another package::

    import pytest
    from uadbench.testing import CHECKS
    from mypackage import MyNet

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyNet)

Every check takes a model class and raises AssertionError with a message that describes the fault. `examine` runs all
checks, and also describes any other error of a model.
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
