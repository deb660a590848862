"""Data frames of the registered models and of the score columns."""

from __future__ import annotations

import pandas as pd


def list_models() -> pd.DataFrame:
    """List the registered models: built in, from installed packages, and registered in this session.

    Returns:
        One row per model: `name`; `source` ("built in", a package, or "this session"); `extra` (the optional
        dependency it needs); `missing` (packages of that extra which are not installed); `summary`.
    """
    from uadbench import registry
    from uadbench.models.extras import missing_packages

    origins = registry.models.origins()
    rows = [
        {
            "name": origin.name,
            "source": origin.source,
            "extra": origin.extra,
            "missing": ", ".join(missing_packages(origin.extra)),
            "summary": origin.summary,
        }
        for origin in origins.values()
    ]
    for name in registry.models.names():
        if name not in origins:
            lines = (registry.models.get(name).__doc__ or "").strip().splitlines()
            summary = lines[0] if lines else ""
            rows.append({"name": name, "source": "this session", "extra": "", "missing": "", "summary": summary})
    return pd.DataFrame(rows).set_index("name")


def columns() -> pd.DataFrame:
    """Describe every column of scores and every number of results.

    Returns:
        One row per metric: `name`, `label`, `unit`, `better` ("higher", "lower" or "neither"), `low` and `high` (its
        range) and `meaning`.
    """
    from uadbench.metrics.catalogue import METRICS

    rows = [
        {
            "name": metric.name,
            "label": metric.label,
            "unit": metric.unit,
            "better": metric.better,
            "low": metric.low,
            "high": metric.high,
            "meaning": metric.help,
        }
        for metric in METRICS
    ]
    return pd.DataFrame(rows).set_index("name")
