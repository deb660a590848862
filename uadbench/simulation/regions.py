"""The brain regions with lowered uptake in each dementia: reads and checks regions.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uadbench.errors import InputError
from uadbench.registry import did_you_mean
from uadbench.runtime import files
from uadbench.space import atlas

DEMENTIAS = ("ad", "bvftd", "lvppa", "svppa", "nfvppa", "pca")
"""The six dementias of the paper, in its order."""

_TABLE = Path(__file__).with_name("regions.toml")
_Entry = TypeVar("_Entry", bound=BaseModel)
_SIDES = {"left": ("_L",), "right": ("_R",), "both": ("_L", "_R")}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Strict):
    """A publication; `verified` says whether the cited passage was read."""

    text: str = Field(min_length=1)
    id: str
    verified: bool


class Region(_Strict):
    """One AAL3 region (name without _L or _R) that a dementia affects.

    `weight` is the uptake loss relative to the core of the pattern, in (0, 1].
    """

    region: str
    side: Literal["left", "right", "both"]
    weight: float = Field(gt=0, le=1, strict=True)
    why: str = Field(min_length=1)
    sources: tuple[str, ...] = Field(min_length=1)

    @property
    def labels(self) -> tuple[str, ...]:
        """The AAL3 names, with _L or _R."""
        return tuple(self.region + suffix for suffix in _SIDES[self.side])


class Dementia(_Strict):
    """The pattern of a dementia: its regions, and a note on the agreement in the literature."""

    key: str
    name: str = Field(min_length=1)
    note: str = Field(min_length=1)
    regions: tuple[Region, ...] = Field(min_length=1)

    @property
    def weights(self) -> dict[str, float]:
        """AAL3 names, with _L or _R, to weights."""
        return {label: region.weight for region in self.regions for label in region.labels}


def dementias() -> dict[str, Dementia]:
    """The six dementias by key, in the order of DEMENTIAS.

    Raises:
        InputError: If the table is invalid; the message names the entry.
    """
    return dict(_table()[0])


def sources() -> dict[str, Source]:
    """The literature behind the regions, by the key that `Region.sources` uses."""
    return dict(_table()[1])


def dementia(name: str) -> Dementia:
    """One dementia by its key.

    Raises:
        InputError: If the key is unknown; the message suggests the nearest one.
    """
    known = _table()[0]
    if name not in known:
        raise InputError(f"unknown anomaly '{name}'; {did_you_mean(name, list(known))}")
    return known[name]


def regions_digest() -> str:
    """SHA-256 (hex) of everything the masks depend on: regions, sides and weights, but not prose or order."""
    return digest(dementias())


def digest(table: dict[str, Dementia]) -> str:
    """Like `regions_digest`, for any table."""
    return files.content_hash({key: entry.weights for key, entry in table.items()})


def read_table(path: Path) -> tuple[dict[str, Dementia], dict[str, Source]]:
    """Read a region table: dementias and sources, by key.

    Raises:
        InputError: If anything is missing, unknown, of the wrong type, listed twice, or not in AAL3; the message names
            file and entry.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path.name}: cannot be read ({error})") from None
    listed = _entries(path, "sources", raw.pop("sources", None))
    cited = {key: _check(Source, value, f"{path.name}: sources.{key}") for key, value in listed.items()}
    for key in raw:
        if key not in DEMENTIAS:
            raise InputError(f"{path.name}: [{key}] is not a dementia; {did_you_mean(key, list(DEMENTIAS))}")
    table: dict[str, Dementia] = {}
    for key in DEMENTIAS:
        fields = {"key": key} | _entries(path, key, raw.get(key))
        table[key] = _check(Dementia, fields, f"{path.name}: {key}")
        _check_regions(path, table[key], cited)
    return table, cited


@cache
def _table() -> tuple[dict[str, Dementia], dict[str, Source]]:
    return read_table(_TABLE)


def _entries(path: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{path.name}: the table [{key}] is missing")
    return value


def _check(kind: type[_Entry], value: Any, where: str) -> _Entry:
    """Build one entry, or raise InputError that names the wrong field."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}.{field}: {first['msg']} (is {first['input']!r})") from None


def _check_regions(path: Path, entry: Dementia, cited: dict[str, Source]) -> None:
    known = atlas.region_ids()
    taken: set[str] = set()
    for number, region in enumerate(entry.regions):
        where = f"{path.name}: {entry.key}.regions.{number} ({region.region}, {region.side})"
        for label in region.labels:
            if label not in known:
                raise InputError(f"{where}: AAL3 has no voxels of '{label}'; {did_you_mean(label, list(known))}")
            if label in taken:
                raise InputError(f"{where}: '{label}' is listed twice")
            taken.add(label)
        for source in region.sources:
            if source not in cited:
                raise InputError(f"{where}: source '{source}' is not in [sources]")
