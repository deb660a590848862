"""A protocol: the frozen TOML file that fixes everything a score depends on besides the model."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from uadbench.errors import InputError
from uadbench.registry import did_you_mean
from uadbench.runtime.files import content_hash, write_json
from uadbench.runtime.reading import FORBIDDEN, first_fault, read_bytes, read_document
from uadbench.types import Grid, Intensity, Precision

Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
FOLDER = Path(__file__).parent
STORED = "protocol.json"
LARGEST = 1 << 20
"""Bytes of a protocol's file; those that ship have 2000."""
MOST_VOXELS = 100_000_000
"""Of a grid. A brain at 0.5 mm has 70 million."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GridSection(_Section):
    """The lattice that models see; `origin` is the MNI coordinate of voxel (0, 0, 0), mm."""

    shape: tuple[Count, Count, Count]
    voxel_mm: Annotated[float, Field(gt=0)]
    origin: tuple[float, float, float]

    @model_validator(mode="after")
    def _fits(self) -> GridSection:
        if math.prod(self.shape) > MOST_VOXELS:
            raise ValueError(f"shape must not have more than {MOST_VOXELS} voxels")
        return self


class IntensitySection(_Section):
    """How SUVR becomes the models' unit.

    `suvr`: division by the fixed `scale`. `minmax`: each healthy scan's own smallest and largest
    value at full resolution become 0 and 1, and its altered versions use the same two numbers.
    """

    kind: Literal["suvr", "minmax"]
    scale: Annotated[float, Field(gt=0)] = 1.0


class SplitSection(_Section):
    """How healthy participants are divided; `sessions` says which scans of the training participants are used.

    `patients` is the group whose first scans are the test set of that name, at most `most_patients` of them; a cohort
    may have none.
    """

    healthy: str
    patients: str
    most_patients: Count
    train: Count
    validation: Annotated[int, Field(ge=4)]
    test: Count
    folds: Count
    sessions: Literal["baseline", "all"]
    seed: int


class Range(_Section):
    """From `low` to `high`."""

    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _rises(self) -> Range:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class UnseenSection(_Section):
    """Blobs, one a participant, at every severity of the test sets (see `simulation.blobs`).

    The logarithm of the volume is uniform. `most_overlap` is the largest share of a blob in any one dementia's mask.
    """

    volume_cm3: Range
    most_overlap: Fraction


class VariedSection(_Section):
    """Dementias as they vary, `draws` a participant (see `simulation.varied`); ranges are uniform."""

    draws: Count
    severity: Range
    sigma_mm: Range
    warp_mm: Annotated[float, Field(ge=0)]


class HyperSection(_Section):
    """The participant's blob with its uptake raised instead of lowered."""

    severity: Fraction


class TestSetSection(_Section):
    """Which anomalies are simulated, how strongly, and what counts as truth (see `simulation.hypometabolism`).

    `seed` and the participant decide what is drawn for `unseen`, `varied` and `hyper`.
    """

    seed: Annotated[int, Field(ge=0)]
    unseen: UnseenSection
    varied: VariedSection
    hyper: HyperSection

    anomalies: Annotated[tuple[str, ...], Field(min_length=1)]
    severities: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    sigma_mm: Annotated[float, Field(gt=0)]
    positive: Fraction
    ignored: Fraction

    @model_validator(mode="after")
    def _each_once(self) -> TestSetSection:
        if len(set(self.anomalies)) != len(self.anomalies) or list(self.severities) != sorted(set(self.severities)):
            raise ValueError("anomalies must differ, and severities must rise")
        if self.ignored > self.positive:
            raise ValueError("ignored must not be above positive")
        if self.varied.severity.high > 1:
            raise ValueError("varied.severity must not be above 1")
        return self


class StandardMapSection(_Section):
    """The post-processing that every model's map gets before it is ranked (see `metrics.postprocessing`)."""

    fwhm_mm: Annotated[float, Field(gt=0)]
    sd_floor: Fraction


class RankingSection(_Section):
    """Severities over which the ranking average precision is averaged: half dementias, half `unseen`."""

    severities: Annotated[tuple[Fraction, ...], Field(min_length=1)]


class DetectionSection(_Section):
    """What turns maps into findings and scans into cases.

    `false_positive_rates`: of voxels, at which thresholds are set on healthy validation scans. `top`: a scan's
    score is the mean of this share of its brain's voxels, the highest of the standard map. `specificity` of that
    score, set on validation scans, of which there must be `least_validation` for it to mean anything.
    """

    false_positive_rates: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    top: Fraction
    specificity: Annotated[float, Field(gt=0, lt=1)]
    least_validation: Annotated[int, Field(ge=2)]


class TrainingSection(_Section):
    """The budget that all models share; a model owns only its recipe (optimiser, rate).

    `recipe` names which of a model's recipes suits this budget. `patience`: stop after so many epochs
    without a better validation error; 0 never stops early. `precision`: "bf16" is mixed precision where the processor
    has it, else float32; "float32" is that everywhere.
    """

    recipe: str
    epochs: Count
    batch_size: Count
    patience: Annotated[int, Field(ge=0)]
    precision: Precision


class RunsSection(_Section):
    """Which folds and seeds a sweep under this protocol consists of, and what each run should cost at most.

    A run that takes more than `cpu_minutes` on processors, all cores together, is finished, and marked.
    """

    folds: tuple[Annotated[int, Field(ge=0)], ...]
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    cpu_minutes: Annotated[float, Field(gt=0)] | None = None


class Protocol(_Section):
    """A whole protocol; equal content has an equal `hash`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    version: Count
    about: str
    cohort: str
    grid: GridSection
    intensity: IntensitySection
    split: SplitSection
    testsets: TestSetSection
    standard_map: StandardMapSection
    ranking: RankingSection
    detection: DetectionSection
    training: TrainingSection
    runs: RunsSection

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, content: Any) -> Any:
        """Runs were called cells in protocols that earlier versions stored."""
        if isinstance(content, dict) and "cells" in content and "runs" not in content:
            return {("runs" if key == "cells" else key): section for key, section in content.items()}
        return content

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if not set(self.ranking.severities) <= set(self.testsets.severities):
            raise ValueError("ranking.severities must be among testsets.severities")
        if not all(fold < self.split.folds for fold in self.runs.folds):
            raise ValueError("cells.folds must be below split.folds")
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of all that can change a score; its name, prose, default cohort and runs are left out.

        So a run of `paper` and the same run of `paper-cv` are one and the same.
        """
        return content_hash(self.model_dump(mode="json", exclude={"name", "about", "cohort", "runs"}))

    @property
    def lattice(self) -> Grid:
        """The grid as it travels."""
        return Grid(self.grid.shape, self.grid.voxel_mm, self.grid.origin)

    def intensity_of(self, extent: tuple[float, float]) -> Intensity:
        """The intensity scale of a healthy scan whose SUVR at full resolution spans `extent`."""
        if self.intensity.kind == "suvr":
            return Intensity(0.0, self.intensity.scale)
        low, high = extent
        return Intensity(low, high - low)


def protocol_names() -> list[str]:
    """The protocols that ship with uadbench, from the shortest to the longest."""
    order = ["smoke", "quick", "paper", "paper-cv"]
    return sorted(
        (file.stem for file in FOLDER.glob("*.toml")), key=lambda n: (n not in order, n in order and order.index(n))
    )


def load_protocol(reference: str, overrides: Mapping[str, str] | None = None) -> Protocol:
    """Read a protocol by name or from a TOML file.

    Args:
        reference: `quick`, or `path/to/mine.toml`.
        overrides: Dotted keys to TOML values, such as {"training.epochs": "3"}; a protocol that was changed this way
            has another hash, so that its results are never ranked with the original's.

    Raises:
        InputError: For an unknown protocol or key, or a value that does not fit.
    """
    file = protocol_file(reference)
    content = _read_toml(file)
    for key, value in (overrides or {}).items():
        _override(content, key, value)
    try:
        return Protocol.model_validate(content)
    except ValidationError as error:
        raise InputError(f"protocol {file.name}: {_explain(error)}") from None


def protocol_file(reference: str) -> Path:
    """Where a protocol is written.

    Raises:
        InputError: For a name that none has.
    """
    if reference.endswith(".toml"):
        return Path(reference)
    if reference not in protocol_names():
        raise InputError(f"no protocol is called '{reference}'; {did_you_mean(reference, protocol_names())}")
    return FOLDER / f"{reference}.toml"


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_bytes(file, LARGEST, links=True).decode("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such protocol file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file.name}: not valid TOML: {error}") from None


def store_protocol(protocol: Protocol, folder: Path) -> None:
    """Write a protocol into a run folder, whole, as it was after `--set`."""
    write_json(folder / STORED, protocol.model_dump(mode="json"))


def stored_protocol(folder: Path, name: str) -> Protocol:
    """The protocol that a run folder holds; one of before it was stored, by its name.

    Raises:
        InputError: For a file that is damaged.
    """
    file = folder / STORED
    try:
        return Protocol.model_validate_json(read_document(file, LARGEST))
    except FileNotFoundError:
        if name not in protocol_names():  # it is what a result says, which is not to choose a file
            raise InputError(f"{folder}: has no {STORED}, and no protocol is called '{name}'") from None
        return load_protocol(name)
    except ValidationError as error:
        raise InputError(f"{file}: {_explain(error)}") from None


FORMER: frozenset[str] = frozenset()
"""Hashes of earlier versions of shipped protocols whose results may still stand on a board."""


def has_shipped(protocol: Protocol) -> bool:
    """Whether a protocol ships, or did once."""
    return is_shipped(protocol) or protocol.hash in FORMER


def is_shipped(protocol: Protocol) -> bool:
    """Whether the protocol is, to the hash, one that ships with uadbench: only those are ranked."""
    return protocol.name in protocol_names() and load_protocol(protocol.name).hash == protocol.hash


def _override(content: dict[str, Any], key: str, text: str) -> None:
    *path, last = key.split(".")
    section: Any = content
    for name in path:
        if not isinstance(section.get(name), dict):
            known = [k for k, v in section.items() if isinstance(v, dict)]
            raise InputError(f"protocol has no section '{name}' (in --set protocol.{key}); {did_you_mean(name, known)}")
        section = section[name]
    if last not in section:
        raise InputError(f"protocol has no key '{key}'; {did_you_mean(last, list(section))}")
    try:
        section[last] = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        section[last] = text


def _explain(error: ValidationError) -> str:
    place, message = first_fault(error)
    where = ".".join(map(str, place))
    if message == FORBIDDEN:
        section: Any = Protocol
        for name in place[:-1]:
            section = section.model_fields[name].annotation
        return f"unknown key '{where}'; {did_you_mean(str(place[-1]), list(section.model_fields))}"
    return f"{where}: {message}" if where else message
