"""How time and memory of an evaluation grow: `python benchmarks/scaling.py` writes scaling.csv and scaling.png.

Each row is a process of its own (`evaluation_worker`); a quarter of an hour on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

HERE = Path(__file__).parent
BASE: dict[str, Any] = {"protocol": "quick", "scans": 12, "model": "vae3d", "dementias": 6, "severities": 9}
SERIES: dict[str, list[dict[str, Any]]] = {
    "test scans (24 x 32 x 24)": [{"protocol": "smoke", "scans": n} for n in (30, 100, 300, 1000, 3000)],
    "severities (40 x 48 x 40)": [{"severities": n} for n in (1, 3, 6, 9)],
    "voxels of the grid": [
        {"protocol": "smoke", "scans": 30},
        {"protocol": "quick"},
        {"protocol": "paper", "scans": 3},
    ],
    "model (40 x 48 x 40)": [
        {"model": m} for m in ("identity", "mean", "zscore", "pca_recon", "ae3d", "vae3d", "aae3d")
    ],
}
VOXELS = {"smoke": 24 * 32 * 24, "quick": 40 * 48 * 40, "paper": 80 * 96 * 80}
VARIED = ("scans", "severities", "protocol", "model")


def measure(setting: dict[str, Any]) -> dict[str, float]:
    """Run one process."""
    command = [sys.executable, str(HERE / "evaluation_worker.py"), json.dumps(BASE | setting)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Measure all, print the table, write it and the plot."""
    rows = []
    for (series, settings), varied in zip(SERIES.items(), VARIED, strict=True):
        for setting in settings:
            found, scans = measure(setting), (BASE | setting)["scans"]
            value = VOXELS[setting["protocol"]] if varied == "protocol" else setting[varied]
            seconds = found["evaluation_s"] if varied == "scans" else found["evaluation_s"] / scans
            ratio = found["evaluation_s"] / found["forward_s"]
            rows.append((series, value, round(seconds, 3), round(ratio, 2), round(found["memory_mib"])))
            print(*rows[-1], sep="\t", flush=True)
    table = pd.DataFrame(rows, columns=["series", "value", "seconds", "over_forward", "memory_mib"])
    table.to_csv(HERE / "scaling.csv", index=False)
    draw(table)


def draw(table: pd.DataFrame) -> None:
    """Time above, memory below, a column a series."""
    figure, axes = plt.subplots(2, len(SERIES), figsize=(13, 5.5), constrained_layout=True)
    for place, series in enumerate(SERIES):
        part = table[table["series"] == series]
        bars = series.startswith("model")
        values = part["value"].astype(str if bars else float)
        for axis, column in zip(axes[:, place], ("seconds", "memory_mib"), strict=True):
            if bars:
                axis.bar(values, part[column])
            else:
                axis.plot(values, part[column], marker="o")
            axis.set_ylim(0, 1.1 * part[column].max())
            axis.tick_params(axis="x", rotation=45 if bars or series.startswith("voxels") else 0)
            axis.set_xlabel(series)
            whole = "seconds" if place == 0 else "seconds a scan"
            axis.set_ylabel(whole if column == "seconds" else "memory, MiB")
    figure.savefig(HERE / "scaling.png", dpi=80)


if __name__ == "__main__":
    main()
