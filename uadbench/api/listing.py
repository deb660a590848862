"""The registered models and the score columns, as rows and as data frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from uadbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from uadbench import registry
    from uadbench.metrics.metric import Metric


def list_models() -> pd.DataFrame:
    """List the registered models: built in, from installed packages, and registered in this session.

    Returns:
        One row per model, by family and then by score: `name`; `family`; `ranking_ap`, `low` and `high` (ranking AP and
        its 95 % interval on the leaderboard that comes with uadbench) with `board`, `protocol` and `cohort`; `source`
        ("built in", a package, or "this session"); `extra` (the optional dependency it needs); `missing` (packages of
        that extra which are not installed); `summary`.
    """
    import pandas as pd

    return pd.DataFrame(model_rows()).set_index("name")


def model_rows() -> list[dict[str, Any]]:
    """The rows of `list_models`, without importing a model, torch or pandas.

    Returns:
        One dictionary per model, in the same order; a model that is not on the board has None as `ranking_ap`.

    Raises:
        InputError: If two packages offer the same name, or the leaderboard cannot be read.
    """
    from uadbench import registry
    from uadbench.leaderboard.ranking import BoardScore, overview, shipped_board
    from uadbench.models.extras import missing_packages
    from uadbench.models.families import OTHER, family_order

    root = shipped_board()
    scores = {} if root is None else overview(root)
    origins = registry.models.origins()
    rows = []
    for name in registry.models.names():
        origin = origins.get(name) or _of_session(name)
        rows.append(
            {
                "name": name,
                "family": origin.family or OTHER,
                **asdict(scores.get(name, BoardScore()) if origin.source == "built in" else BoardScore()),
                "source": origin.source,
                "extra": origin.extra,
                "missing": ", ".join(missing_packages(origin.extra)),
                "summary": origin.summary,
            }
        )
    return sorted(rows, key=lambda row: (family_order(row["family"]), -(row["ranking_ap"] or 0.0), row["name"]))


def _of_session(name: str) -> registry.Origin:
    """The origin of a model that was registered in this process."""
    from uadbench import registry

    plugin = registry.models.get(name)
    lines = (plugin.__doc__ or "").strip().splitlines()
    extra, family = (str(getattr(plugin, attribute, "")) for attribute in ("extra", "family"))
    return registry.Origin(name, "this session", lines[0] if lines else "", plugin.__module__, extra, family)


def columns(names: str | Iterable[str] | None = None) -> pd.DataFrame:
    """Describe columns of scores and numbers of results.

    Args:
        names: A name such as "ap.standard" or "headline.ap_standard", or several: `columns(run.scores)` describes the
            columns of a table, without those that are no measurement. By default everything, one row per family of
            columns: "ap.<map>".

    Returns:
        One row per metric: `name`, `label`, `unit`, `better` ("higher", "lower" or "neither"), `low` and `high` (its
        range) and `meaning`.

    Raises:
        InputError: If a single name is unknown.
    """
    import pandas as pd

    from uadbench.metrics.catalogue import METRICS

    chosen = dict(_described(names)) if names is not None else {metric.name: metric for metric in METRICS}
    rows = [
        {
            "name": name,
            "label": metric.label,
            "unit": metric.unit,
            "better": metric.better,
            "low": metric.low,
            "high": metric.high,
            "meaning": metric.help,
        }
        for name, metric in chosen.items()
    ]
    return pd.DataFrame(rows, columns=["name", "label", "unit", "better", "low", "high", "meaning"]).set_index("name")


def _described(names: str | Iterable[str]) -> Iterator[tuple[str, Metric]]:
    """Each name that the catalogue knows, and its metric."""
    from uadbench.metrics.catalogue import metric_of

    for name in [names] if isinstance(names, str) else names:
        try:
            yield name, metric_of(name)
        except KeyError:
            if isinstance(names, str):
                raise InputError(f"{name}: no such column; uadbench.columns() lists them all") from None
