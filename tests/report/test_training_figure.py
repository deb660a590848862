"""The training curve of models whose losses differ in size and sign, or that are validated by nothing."""

from __future__ import annotations

import numpy as np
import pytest

from uadbench.report.figures import training_figure
from uadbench.results.schema import Result


@pytest.fixture
def result(trained) -> Result:
    return trained[0].result


def curves(result: Result, losses: list[dict[str, float]], errors: list[float | None], best: int | None) -> dict:
    """Panel by title."""
    training = result.training.model_copy(
        update={"epochs": len(losses), "losses": losses, "validation_mse": errors, "best_epoch": best}
    )
    figure = training_figure(result.model_copy(update={"training": training}))
    return {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}


def drawn(axes) -> np.ndarray:
    return axes.get_lines()[0].get_ydata()


def test_losses_of_every_size_and_sign_are_drawn_as_they_are(result) -> None:
    epochs = 1000
    signed = [(-1.0) ** e for e in range(epochs)]
    losses = [
        {
            "steady": 1.0 + e / epochs,
            "falling": 1000 / (1 + e),
            "signed": signed[e],
            "wild": signed[e] * 10.0 ** (e // 100),
        }
        | ({"late": 2.0} if e >= 600 else {})
        for e in range(epochs)
    ]
    shown = curves(result, losses, [1 / (1 + e) for e in range(epochs)], 7)
    assert list(shown) == [*(f"loss '{n}'" for n in ("steady", "falling", "signed", "wild", "late")),
                           "validation MSE, healthy scans"]  # fmt: skip
    for name in ("steady", "falling", "signed", "wild"):
        np.testing.assert_array_equal(drawn(shown[f"loss '{name}'"]), [each[name] for each in losses])
    scales = [axes.get_yscale() for axes in shown.values()]
    assert scales == ["linear", "log", "linear", "symlog", "linear", "log"]
    late = drawn(shown["loss 'late'"])
    assert np.isnan(late[:600]).all() and (late[600:] == 2).all()
    assert all(8 in [line.get_xdata()[0] for line in axes.get_lines()] for axes in shown.values())


@pytest.mark.parametrize(("reconstructs", "why"), [(False, "no reconstruction"), (True, "not monitored")])
def test_what_is_not_validated_says_why(reconstructs: bool, why: str, result) -> None:
    model = result.model.model_copy(update={"reconstructs": reconstructs})
    shown = curves(result.model_copy(update={"model": model}), [{"map": 0.0}], [None], None)
    last = shown["validation MSE, healthy scans"]
    assert [text.get_text() for text in last.texts] == [f"n/a: {why}"] and not last.get_lines()
    (line,) = shown["loss 'map'"].get_lines()
    assert line.get_marker() == "o", "one epoch is a point"
