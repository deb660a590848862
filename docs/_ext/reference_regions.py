"""The reference of the dementia masks, from the region table."""

from __future__ import annotations

from markdown_text import code, escaped, table

from uadbench.simulation.hypometabolism import LEAST_WEIGHT
from uadbench.simulation.regions import Dementia, Region, Source, dementias, sources


def regions_page() -> str:
    """The regions of each dementia with side, weight, reason and sources, and the sources."""
    parts = []
    for entry in dementias().values():
        parts += [f"## {entry.key}: {escaped(entry.name)}", _sides(entry), escaped(entry.note)]
        headings = ["AAL3 region", "side", "weight", "in the truth", "reason", "sources"]
        parts.append(table(headings, map(_row, entry.regions)))
    parts.append("## Sources")
    parts.append(table(["key", "publication", "read"], (_source(key, each) for key, each in sources().items())))
    return "\n\n".join(parts) + "\n"


def _sides(entry: Dementia) -> str:
    """The sum of the weights of the regions on each side."""
    left, right = (sum(w for name, w in entry.weights.items() if name.endswith(side)) for side in ("_L", "_R"))
    return f"Sum of the weights: left {left:g}, right {right:g}."


def _row(region: Region) -> list[str]:
    positive = "yes" if region.weight >= LEAST_WEIGHT else "no (ignored)"
    cited = ", ".join(map(code, region.sources))
    return [code(region.region), region.side, f"{region.weight:g}", positive, escaped(region.why), cited]


def _source(key: str, source: Source) -> list[str]:
    return [code(key), f"{escaped(source.text)} {code(source.id)}".rstrip(), "yes" if source.verified else "no"]
