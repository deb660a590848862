"""Models and figures of a notebook, in a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "first_notebook.ipynb"
MODEL = """
import torch
import uadbench as ub

GAIN = 0.5

@ub.register_model("mine")
class Mine(ub.ReconstructionModel):
    \"\"\"Part of the image.\"\"\"

    def reconstruct(self, batch):
        return batch.images * GAIN
"""
RUN = """
run = ub.run("mine", protocol="smoke")
print(run.folder.name, run.result.model.unranked, round(run.result.cost.evaluation_seconds, 4))
"""


def executed(folder: Path, *cells: str) -> list[Any]:
    """The outputs of each cell, in a new kernel whose working folder is `folder`."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in notebook.cells]


def printed(outputs: list[Any]) -> str:
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


@pytest.mark.slow
def test_a_model_of_a_notebook_is_run_resumed_and_known_again(tmp_path: Path) -> None:
    _, first, _, second = executed(tmp_path, MODEL, RUN, MODEL, RUN)
    assert printed(first) == printed(second) and " None " in printed(first)  # ranked, and not computed twice
    assert printed(executed(tmp_path, MODEL, RUN)[1]) == printed(first)  # by a new kernel neither
    other = printed(executed(tmp_path, MODEL.replace("0.5", "0.6"), RUN)[1])
    assert other.split()[0] != printed(first).split()[0]  # another value of a global is another model


@pytest.mark.slow
def test_figures_and_tables_are_shown(tmp_path: Path) -> None:
    cells = (
        "import uadbench as ub\nrun = ub.run('zscore', protocol='smoke')",
        "run.plot.severity()",
        "run",
        "ub.columns()",
    )
    _, figure, shown, table = executed(tmp_path, *cells)
    assert any("image/png" in output.data for output in figure)
    assert "zscore, smoke, phantom" in shown[0].data["text/plain"]
    assert "text/html" in table[0].data


@pytest.mark.slow
def test_an_error_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError) as failed:
        executed(tmp_path, "import uadbench as ub\nub.run('zscorre', protocol='smoke')")
    shown = failed.value.traceback.rpartition("------------------\n")[2].split("\n")
    assert len([line for line in shown if line.strip()]) == 1 and "did you mean 'zscore'" in "".join(shown)


@pytest.mark.slow
def test_the_example_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLE, as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    shown = dict(zip(cells, executed(tmp_path, *cells), strict=True))
    figures = [cell for cell, outputs in shown.items() if any("image/png" in o.get("data", {}) for o in outputs)]
    assert len(figures) == sum("plot" in cell for cell in cells)
    for cell in ("run.scores.groupby", "ub.compare"):
        assert any("text/html" in o.data for code, outputs in shown.items() if code.startswith(cell) for o in outputs)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
