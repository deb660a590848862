"""The columns of a leaderboard: the metric and the test sets behind each key of `leaderboard.json`."""

from __future__ import annotations

from dataclasses import dataclass

from uadbench.metrics.catalogue import metric_of
from uadbench.metrics.metric import Metric
from uadbench.types import PATIENTS, UNSEEN


@dataclass(frozen=True)
class Shown:
    """One column of a leaderboard.

    Attributes:
        metric: The metric's entry in the catalogue.
        of: The test sets, if the heading has to name them.
        note: A sentence that the leaderboard adds to the metric's help.
    """

    metric: Metric
    of: str = ""
    note: str = ""

    @property
    def heading(self) -> str:
        """The heading of the column."""
        return f"{self.metric.heading} {self.of}".rstrip()

    def to_json(self) -> dict[str, str]:
        """Heading, help and direction for the script of the page."""
        return {"heading": self.heading, "help": f"{self.metric.sentence} {self.note}".rstrip(), **self._direction()}

    def _direction(self) -> dict[str, str]:
        return {} if self.metric.better == "neither" else {"better": self.metric.better}


HIGHEST = "At the highest ranking severity, mean over dementias."
LOWEST = "At the lowest ranking severity"
AUROC = metric_of("detection.testsets.auroc")

BOARD = {
    "rank": Shown(metric_of("board.rank")),
    "ap": Shown(metric_of("headline.ap_standard")),
    "dementias": Shown(metric_of("headline.ap_dementias")),
    "unseen": Shown(metric_of("headline.ap_unseen")),
    "native": Shown(metric_of("headline.ap_native")),
    "matched": Shown(metric_of("detection.testsets.matched"), note=HIGHEST),
    "recovered": Shown(metric_of("recovered"), note=HIGHEST),
    "damage": Shown(metric_of("damage"), note=HIGHEST),
    "healthiness": Shown(metric_of("board.healthiness"), note=HIGHEST),
    "identified": Shown(metric_of("identified"), note=HIGHEST),
    "auroc": Shown(AUROC, "dementias", f"{LOWEST}, mean over dementias."),
    "aurocUnseen": Shown(AUROC, UNSEEN, f"{LOWEST}."),
    "patients": Shown(AUROC, PATIENTS, "By diagnosis, if there are several; sorted by that of all patients."),
    "healthyMse": Shown(metric_of("headline.healthy_mse")),
    "parameters": Shown(metric_of("cost.parameters")),
    "train": Shown(metric_of("cost.train_seconds")),
    "cpuMinutes": Shown(metric_of("cost.cpu_minutes")),
    "inference": Shown(metric_of("cost.inference_seconds_per_scan")),
    "trainings": Shown(metric_of("board.trainings")),
    "curves": Shown(metric_of("ap.standard")),
    "chance": Shown(metric_of("headline.prevalence")),
    "nearIdeal": Shown(metric_of("board.near_ideal")),
}
"""Columns by their key in `leaderboard.json`; `trainings` combines `seeds` and `folds`."""


def heading(key: str) -> str:
    """The heading of the column with this key."""
    return BOARD[key].heading
