"""Models side by side, participant by participant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uadbench.api.completed import CompletedRun
from uadbench.api.reading import read

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from uadbench.results.compare import Pair


@dataclass(frozen=True)
class Comparisons:
    """Paired comparisons of models: the ranking AP first, then every dementia and the unseen blobs.

    Attributes:
        pairs: Every pair of models on every measure.
    """

    pairs: tuple[Pair, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per measure and pair.

        Returns:
            `measure`, `first`, `second`; `difference` (first minus second) with its 95 % interval `low`, `high`; `p`,
            Holm-adjusted (the ranking AP over all pairs, the other measures together over theirs); `effect`, the
            rank-biserial correlation; `decided`, whether the two differ: p is below .05.
        """
        import pandas as pd

        rows = [
            {
                "measure": pair.measure,
                "first": pair.first,
                "second": pair.second,
                "difference": pair.comparison.difference.mean,
                "low": pair.comparison.difference.low,
                "high": pair.comparison.difference.high,
                "p": pair.p,
                "effect": pair.comparison.effect,
                "participants": pair.comparison.subjects,
                "decided": pair.decided,
            }
            for pair in self.pairs
        ]
        return pd.DataFrame(rows)

    def plot(self) -> Figure:
        """The differences with their intervals, as a matplotlib figure."""
        from uadbench.report.forest import forest

        return forest(list(self.pairs))

    def __repr__(self) -> str:
        return self.to_frame().round(4).to_string(index=False)


def compare(runs: Iterable[CompletedRun | str | Path]) -> Comparisons:
    """Compare models by paired tests over participants and trainings, Holm-adjusted.

    Several runs of one model are treated as its seeds and folds. Failed trainings are left out.

    Args:
        runs: `Runs`, or run folders, result files and completed runs, of two models at least.

    Raises:
        InputError: If they were tested on different scans, or are all of one model.
    """
    from uadbench.leaderboard.tolerance import require_comparable
    from uadbench.results.compare import compare as compare_models
    from uadbench.results.compare import contenders

    own = [each if isinstance(each, CompletedRun) else read(each) for each in runs]
    require_comparable([each.folder for each in own], [each.result for each in own])
    pairs = compare_models(contenders([each.result for each in own], [each.scores for each in own]))
    return Comparisons(tuple(pairs))
