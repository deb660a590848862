"""The schema of protocols, which fix everything except the model that a score depends on, and their loading."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from uadbench.errors import InputError
from uadbench.registry import did_you_mean
from uadbench.runtime.files import content_hash, write_json
from uadbench.runtime.reading import FORBIDDEN, first_fault, read_bytes, read_document
from uadbench.types import UNSEEN, Grid, Intensity, Precision

Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
FOLDER = Path(__file__).parent
STORED = "protocol.json"
LARGEST = 1 << 20
"""The largest size of a protocol file, in bytes; the built-in ones have 2000."""
MOST_VOXELS = 100_000_000
"""The largest number of voxels of a grid; a brain at 0.5 mm has 70 million."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GridSection(_Section):
    """The voxel grid of the images that models see.

    Attributes:
        shape: The number of voxels along X, Y and Z.
        voxel_mm: The edge length of the isotropic voxels, in mm.
        origin: The MNI coordinate of the centre of voxel (0, 0, 0), in mm.
    """

    shape: tuple[Count, Count, Count]
    voxel_mm: Annotated[float, Field(gt=0)]
    origin: tuple[float, float, float]

    @model_validator(mode="after")
    def _fits(self) -> GridSection:
        if math.prod(self.shape) > MOST_VOXELS:
            raise ValueError(f"shape must not have more than {MOST_VOXELS} voxels")
        return self


class IntensitySection(_Section):
    """The conversion of SUVR to normalised units.

    Attributes:
        kind: "suvr" divides by `scale`. "minmax" maps the smallest and largest value of each healthy scan at full
            resolution to 0 and 1, and its altered versions by the same two values.
        scale: The divisor of "suvr".
    """

    kind: Literal["suvr", "minmax"]
    scale: Annotated[float, Field(gt=0)] = 1.0


def _listed(diagnoses: Any) -> Any:
    """A list of diagnoses; stored protocols of earlier versions have a single one."""
    return [diagnoses] if isinstance(diagnoses, str) else diagnoses


class SplitSection(_Section):
    """The division of participants into training, validation and test sets.

    Attributes:
        healthy: The diagnosis of healthy participants.
        patients: The diagnoses of patients, whose first scans form the test set `patients`, which is also reported by
            diagnosis; a cohort may have none.
        most_patients: The largest number of patients of each diagnosis to use.
        train: The number of training participants.
        validation: The number of validation participants.
        test: The number of test participants.
        audit: The largest number of further healthy participants for the bias audit, who are in no other part.
        folds: The number of folds.
        sessions: The sessions of training participants to use: the first ("baseline"), or "all".
        seed: The seed of the division.
    """

    healthy: str
    patients: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
    most_patients: Count
    train: Count
    validation: Annotated[int, Field(ge=4)]
    test: Count
    audit: Annotated[int, Field(ge=0, le=1_000_000)]
    folds: Count
    sessions: Literal["baseline", "all"]
    seed: int


class Range(_Section):
    """A range of positive values, from `low` to `high`."""

    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _rises(self) -> Range:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class UnseenSection(_Section):
    """The test set `unseen`: one random blob per participant, at each severity of the test sets.

    See `uadbench.simulation.blobs`.

    Attributes:
        volume_cm3: The range of the volume, whose logarithm is uniformly distributed.
        most_overlap: The largest share of a blob that may lie in the truth of any dementia.
    """

    volume_cm3: Range
    most_overlap: Fraction


class VariedSection(_Section):
    """The test set `varied`: dementias of varying shape and severity.

    See `uadbench.simulation.varied`. Values are uniformly distributed over their ranges.

    Attributes:
        draws: The number of cases per participant.
        severity: The range of the severity.
        sigma_mm: The range of the SD of the smoothing, in mm.
        warp_mm: The SD of the random smooth displacement along each axis, in mm.
    """

    draws: Count
    severity: Range
    sigma_mm: Range
    warp_mm: Annotated[float, Field(ge=0)]


class HyperSection(_Section):
    """The test set `hyper`: the blob of each participant in `unseen`, with increased instead of reduced uptake.

    Attributes:
        severity: The relative increase.
    """

    severity: Fraction


class ShiftedSection(_Section):
    """The test sets `shifted:...`: test scans as another scanner, site or pipeline would deliver them.

    See `uadbench.simulation.shifts`.

    Attributes:
        shifts: The shifts, each of which is applied to every healthy test scan; none for no such test sets.
        anomalies: The dementias, or `unseen`, whose altered scans are shifted as well.
        severity: The severity of these altered scans, one of those of the test sets.
        scans: The largest number of test scans whose altered versions are shifted.
    """

    shifts: tuple[str, ...]
    anomalies: Annotated[tuple[str, ...], Field(min_length=1)]
    severity: Fraction
    scans: Count

    @model_validator(mode="after")
    def _each_once(self) -> ShiftedSection:
        if len(set(self.shifts)) != len(self.shifts) or len(set(self.anomalies)) != len(self.anomalies):
            raise ValueError("shifts and anomalies must be unique")
        return self


class TestSetSection(_Section):
    """The simulated anomalies, their severities, and the ground truth.

    See `uadbench.simulation.hypometabolism`.

    Attributes:
        seed: The seed of the random anomalies, which also depend on the participant.
        unseen: The settings of the test set `unseen`.
        varied: The settings of the test set `varied`.
        hyper: The settings of the test set `hyper`.
        shifted: The settings of the test sets `shifted:...`.
        anomalies: The dementias to simulate.
        severities: The reductions of uptake before smoothing, 0 to 1, in ascending order.
        sigma_mm: The SD of the smoothing of the reduction map, in mm.
        least_weight: The smallest weight of a dementia's region that belongs to its support.
        positive: The value of the smoothed support (0 to 1) above which a voxel belongs to the ground truth. The
            support is 1 in all its regions; that of `unseen`, `varied` and `hyper` is their mask.
        ignored: The value of the smoothed mask above which other voxels are ignored.
    """

    seed: Annotated[int, Field(ge=0)]
    unseen: UnseenSection
    varied: VariedSection
    hyper: HyperSection
    shifted: ShiftedSection

    anomalies: Annotated[tuple[str, ...], Field(min_length=1)]
    severities: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    sigma_mm: Annotated[float, Field(gt=0)]
    least_weight: Fraction
    positive: Fraction
    ignored: Fraction

    @model_validator(mode="after")
    def _each_once(self) -> TestSetSection:
        if len(set(self.anomalies)) != len(self.anomalies) or list(self.severities) != sorted(set(self.severities)):
            raise ValueError("anomalies must be unique, and severities must be in ascending order")
        if self.ignored > self.positive:
            raise ValueError("ignored must not be above positive")
        if self.varied.severity.high > 1:
            raise ValueError("varied.severity must not be above 1")
        if self.shifted.severity not in self.severities:
            raise ValueError("shifted.severity must be among severities")
        return self

    @property
    def shifted_anomalies(self) -> tuple[str, ...]:
        """The anomalies of the test sets whose altered scans are shifted as well."""
        return tuple(name for name in self.shifted.anomalies if name in (*self.anomalies, UNSEEN))


class TuningSection(_Section):
    """Lesions on healthy validation scans, on which settings are chosen; no test set contains them.

    See `uadbench.simulation.tuning`.

    Attributes:
        cases: The number of lesions per validation scan.
        depth: The range of the largest relative reduction of a lesion, whose logarithm is uniformly distributed.
        volume_cm3: The range of the volume before smoothing, whose logarithm is uniformly distributed.
        sigma_mm: The range of the SD of the smoothing, in mm, which is uniformly distributed.
        most_dice: The largest Dice of a lesion's truth with that of any dementia, and with a blob of `unseen`.
    """

    cases: Count
    depth: Range
    volume_cm3: Range
    sigma_mm: Range
    most_dice: Fraction

    @model_validator(mode="after")
    def _is_a_share(self) -> TuningSection:
        if self.depth.high > 1:
            raise ValueError("depth must not be above 1")
        return self


class StandardMapSection(_Section):
    """The post-processing of the maps of all models before they are ranked (see `uadbench.metrics.postprocessing`).

    Attributes:
        fwhm_mm: The full width at half maximum of the smoothing, in mm.
        sd_floor: The lower limit of the voxelwise SD, as a fraction of its median in the brain.
    """

    fwhm_mm: Annotated[float, Field(gt=0)]
    sd_floor: Fraction


class RankingSection(_Section):
    """The ranking of models by average precision, half from dementias and half from the test set `unseen`.

    Attributes:
        severities: The severities over which the average precision is averaged.
    """

    severities: Annotated[tuple[Fraction, ...], Field(min_length=1)]


class DetectionSection(_Section):
    """The detection of anomalous voxels and scans, with thresholds set on healthy validation scans.

    Attributes:
        false_positive_rates: The false positive rates of the voxel thresholds.
        top: The share of brain voxels with the highest values of the standard map, whose mean is the score of a scan.
        specificity: The specificity of the scan threshold.
        least_validation: The smallest number of validation scans for which a scan threshold is set.
    """

    false_positive_rates: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    top: Fraction
    specificity: Annotated[float, Field(gt=0, lt=1)]
    least_validation: Annotated[int, Field(ge=2)]


class TrainingSection(_Section):
    """The training budget, which is the same for all models.

    Attributes:
        recipe: The name of the hyperparameters (optimiser, learning rate) of each model that suit this budget.
        epochs: The number of epochs.
        batch_size: The number of scans in a batch.
        patience: The number of epochs without a lower validation error after which training stops; 0 disables early
            stopping.
        precision: "bf16" for mixed precision if the processor supports it, otherwise "float32".
    """

    recipe: str
    epochs: Count
    batch_size: Count
    patience: Annotated[int, Field(ge=0)]
    precision: Precision


class RunsSection(_Section):
    """The folds and seeds of a sweep under this protocol, and the budget of each run.

    Attributes:
        folds: The folds.
        seeds: The seeds.
        cpu_minutes: The budget of processor time for a run, in minutes, summed over all cores. A run that exceeds it is
            completed, but marked.
    """

    folds: tuple[Annotated[int, Field(ge=0)], ...]
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    cpu_minutes: Annotated[float, Field(gt=0)] | None = None


class Protocol(_Section):
    """A complete protocol.

    Attributes:
        name: The name.
        version: The version number.
        about: A short description.
        cohort: The default cohort.
        grid: The voxel grid.
        intensity: The intensity scale.
        split: The division of participants.
        testsets: The test sets.
        tuning: The lesions on validation scans.
        standard_map: The post-processing of anomaly maps.
        ranking: The ranking of models.
        detection: The detection of anomalous voxels and scans.
        training: The training budget.
        runs: The folds and seeds of a sweep, and the budget of a run.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    version: Count
    about: str
    cohort: str
    grid: GridSection
    intensity: IntensitySection
    split: SplitSection
    testsets: TestSetSection
    tuning: TuningSection
    standard_map: StandardMapSection
    ranking: RankingSection
    detection: DetectionSection
    training: TrainingSection
    runs: RunsSection

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, content: Any) -> Any:
        """Accept stored protocols of earlier versions, in which the section `runs` was called `cells`."""
        if isinstance(content, dict) and "cells" in content and "runs" not in content:
            return {("runs" if key == "cells" else key): section for key, section in content.items()}
        return content

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if not set(self.ranking.severities) <= set(self.testsets.severities):
            raise ValueError("ranking.severities must be among testsets.severities")
        if len({name.lower() for name in self.split.patients}) < len(self.split.patients):
            raise ValueError("split.patients must be unique")
        if not all(fold < self.split.folds for fold in self.runs.folds):
            raise ValueError("runs.folds must be below split.folds")
        return self

    @property
    def hash(self) -> str:
        """The SHA-256 of all settings that can change a score: all except name, description, default cohort and runs.

        Therefore, a run of `paper` and the same run of `paper-cv` are identical.
        """
        return content_hash(self.model_dump(mode="json", exclude={"name", "about", "cohort", "runs"}))

    @property
    def lattice(self) -> Grid:
        """The voxel grid as a `Grid`."""
        return Grid(self.grid.shape, self.grid.voxel_mm, self.grid.origin)

    def intensity_of(self, extent: tuple[float, float]) -> Intensity:
        """The intensity scale of a healthy scan.

        Args:
            extent: The smallest and largest SUVR of the scan at full resolution.

        Returns:
            The scale.
        """
        if self.intensity.kind == "suvr":
            return Intensity(0.0, self.intensity.scale)
        low, high = extent
        return Intensity(low, high - low)


def protocol_names() -> list[str]:
    """The names of the built-in protocols, from the fastest to the slowest."""
    order = ["smoke", "quick", "paper", "paper-cv"]
    return sorted(
        (file.stem for file in FOLDER.glob("*.toml")), key=lambda n: (n not in order, n in order and order.index(n))
    )


def load_protocol(reference: str, overrides: Mapping[str, str] | None = None) -> Protocol:
    """Load a protocol by name or from a TOML file.

    Args:
        reference: The name of a built-in protocol such as `quick`, or `path/to/mine.toml`.
        overrides: TOML values by dotted keys, such as {"training.epochs": "3"}. An overridden protocol has a different
            hash, so that its results are not ranked with those of the original.

    Returns:
        The protocol.

    Raises:
        InputError: For an unknown protocol or key, or an invalid value.
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
    """The TOML file of a protocol.

    Args:
        reference: As in `load_protocol`.

    Returns:
        The path; one that the user gave may not exist.

    Raises:
        InputError: If no built-in protocol has this name.
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
    """Write the complete protocol, after overrides, into a run folder.

    Args:
        protocol: The protocol.
        folder: The run folder.

    Raises:
        Unwritable: If it cannot be written.
    """
    write_json(folder / STORED, protocol.model_dump(mode="json"))


def stored_protocol(folder: Path, name: str) -> Protocol:
    """Read the protocol of a run folder.

    Args:
        folder: The run folder.
        name: The name of the built-in protocol to use if the folder was written by an early version, which did not
            store the protocol.

    Returns:
        The protocol.

    Raises:
        InputError: If the file is corrupted, or is missing and no built-in protocol has this name.
    """
    file = folder / STORED
    try:
        return Protocol.model_validate_json(read_document(file, LARGEST))
    except FileNotFoundError:
        if name not in protocol_names():  # the name comes from a result, which must not select an arbitrary file
            raise InputError(f"{folder}: has no {STORED}, and no protocol is called '{name}'") from None
        return load_protocol(name)
    except ValidationError as error:
        raise InputError(f"{file}: {_explain(error)}") from None


FORMER: frozenset[str] = frozenset()
"""Hashes of earlier versions of built-in protocols whose results may remain on a leaderboard."""


def has_shipped(protocol: Protocol) -> bool:
    """Whether a protocol is a current or an earlier version of a built-in protocol.

    Args:
        protocol: The protocol.

    Returns:
        True if its hash is that of such a version.
    """
    return is_shipped(protocol) or protocol.hash in FORMER


def is_shipped(protocol: Protocol) -> bool:
    """Whether a protocol is identical to a built-in protocol; only results of such protocols are ranked.

    Args:
        protocol: The protocol.

    Returns:
        True if a built-in protocol has the same name and hash.
    """
    return protocol.name in protocol_names() and load_protocol(protocol.name).hash == protocol.hash


def _override(content: dict[str, Any], key: str, text: str) -> None:
    *path, last = key.split(".")
    section: Any = content
    for name in path:
        if not isinstance(section.get(name), dict):
            names = [k for k, v in section.items() if isinstance(v, dict)]
            raise InputError(f"protocol has no section '{name}' (in --set protocol.{key}); {did_you_mean(name, names)}")
        section = section[name]
    if last not in section:
        raise InputError(f"protocol has no key '{key}'; {did_you_mean(last, list(section))}")
    try:
        section[last] = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        section[last] = text


def _explain(error: ValidationError) -> str:
    location, message = first_fault(error)
    where = ".".join(map(str, location))
    if message == FORBIDDEN:
        section: Any = Protocol
        for name in location[:-1]:
            section = section.model_fields[name].annotation
        return f"unknown key '{where}'; {did_you_mean(str(location[-1]), list(section.model_fields))}"
    return f"{where}: {message}" if where else message
