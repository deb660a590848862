"""A result: one run's scores with full provenance, as checked JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from uadbench.errors import InputError
from uadbench.metrics.catalogue import METRICS, metric_of
from uadbench.metrics.metric import placeholder_rows
from uadbench.metrics.score_columns import SCORES
from uadbench.runtime.files import LARGEST_SEALED, sealed, unsealed, write_text
from uadbench.runtime.reading import first_fault, read_json
from uadbench.runtime.text import steers
from uadbench.stats.decimals import DIGITS
from uadbench.types import GIVEN, Precision, is_dementia

SCHEMA_VERSION: Literal[4] = 4
RESULT = "result.json"
PEOPLE = "people.json"
"""In a run folder: who trained, validated and tested, and who is who where results do not name them. It stays there."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _described(path: str, **elsewhere: str) -> ConfigDict:
    """Let the catalogue of metrics describe the numbers of a section in the schema.

    Args:
        path: Where the section stands in a result, without places in lists.
        **elsewhere: Fields that the catalogue has under another name.

    Returns:
        What the section adds to its configuration.
    """

    def describe(schema: dict[str, Any]) -> None:
        known = {metric.name for metric in METRICS}
        for name, field in schema["properties"].items():
            number = elsewhere.get(name, f"{path}.{name}")
            if number in known:
                field["description"] = metric_of(number).description

    return ConfigDict(json_schema_extra=describe)


def _describe_columns(schema: dict[str, Any]) -> None:
    """The columns of scores, in the schema."""
    columns = [f"`{metric.name}`: {metric.description}" for metric in SCORES]
    words = [f"`{name}`: {words}." for name, words in placeholder_rows()]
    schema["properties"]["metrics"]["description"] = "\n".join([*columns, *words])


class ModelCard(_Section):
    """Which model, with which options.

    `weights`: None where they were trained for this result. Else the SHA-256 of the file that they were read from: on
    which scans they were trained, and with which budget, nobody here knows.

    `answers`: None for a model that ran here. Else the hash of the files in which a tool gave its answers to the
    images that it was shown (`uadbench score`): it ran elsewhere, and cannot be run again from here.

    `unranked`: None, or why the model has no rank: its code is not known, or it came with weights that it does not
    declare.
    """

    name: str
    options: dict[str, JsonValue]
    reconstructs: bool
    reference: str
    weights: str | None = None
    answers: str | None = None
    unranked: str | None = None


class CohortCard(_Section):
    """Where the scans came from.

    `public`: whether participants may be named in what is shared. `tested_on` is the cohort of the test scans where it
    is another one. `healthy` and `ill` are the diagnoses that were taken as such. `split` is the hash of who trained,
    validated and tested (with the secret of a private cohort); its sizes are the protocol's, the same in proportion
    ("scaled"), or the split was given. The numbers count scans. `shared_images`: test scans that are, voxel by voxel, a
    scan the model has learnt from.
    """

    name: str
    version: str
    public: bool
    tested_on: str | None
    tested_version: str | None
    healthy: list[str]
    ill: list[str]
    split: str
    origin: Literal["protocol", "scaled", "given"]
    train: int
    validation: int
    test: int
    patients: int
    shared_images: int


class ProtocolCard(_Section):
    """Under which protocol; `ranked` is false where it was changed from what ships with uadbench.

    Nor is a result ranked whose weights were not trained under it, or whose model is unranked (see `ModelCard`).
    `intensity`: "minmax" is the paper's scale, each healthy scan's own range at full resolution; "suvr" a fixed one.
    """

    name: str
    version: int
    hash: str
    intensity: Literal["suvr", "minmax"]
    ranked: bool


class Fingerprint(_Section):
    """Of the test sets: `recipe` must be equal, the numbers of `sketch` equal to a tolerance."""

    recipe: str
    sketch: dict[str, float]


class Estimate(_Section):
    """Mean and standard deviation of a metric over the n cases of a test set; None is n/a.

    `low` and `high` are the 95 % interval of the mean over participants, who are resampled alike in all test sets.
    """

    mean: float | None
    low: float | None
    high: float | None
    sd: float | None
    n: int


class Bounded(_Section):
    """An estimate with its 95 % interval; None is n/a."""

    value: float | None
    low: float | None
    high: float | None


class TestSetScores(_Section):
    """All metrics of one test set.

    Beside the simulated ones there are `healthy` (test scans), `validation` (healthy, too) and `patients`, all at
    severity 0. The severity of `varied` is None: every case has its own.
    """

    model_config = ConfigDict(json_schema_extra=_describe_columns)

    anomaly: str
    severity: float | None
    metrics: dict[str, Estimate]


class Headline(_Section):
    """The few numbers a table shows first, over the `severities` that rank. None is n/a."""

    model_config = _described("headline")

    severities: tuple[float, ...]
    ap_standard: float | None
    ap_interval: tuple[float, float] | None
    ap_dementias: float | None
    ap_unseen: float | None
    ap_native: float | None
    ceiling: float | None
    prevalence: float | None
    healthy_mse: float | None
    validation_mse: float | None


class VoxelThreshold(_Section):
    """What a share of healthy validation voxels (standard map) exceeds, and the threshold's 95 % interval."""

    model_config = _described("detection.voxel_thresholds")

    false_positive_rate: float
    value: float
    low: float
    high: float


class DetectedTestSet(_Section):
    """How well the scans of a test set are told from healthy test scans by their scores.

    The interval of `sensitivity` is over test participants and those who set the threshold.
    """

    model_config = _described("detection.testsets")

    anomaly: str
    severity: float | None
    auroc: Bounded
    sensitivity: Bounded


class PaperTest(_Section):
    """The paper's Figure 1 at one severity.

    The paper does not say whether its test was paired. Neither p is adjusted: compare with 0.05 / severities.
    """

    model_config = _described("detection.severities.paper")

    severity: float
    ratio: float
    p_paired: float | None
    p_unpaired: float | None


class SeverityResponse(_Section):
    """How one anomaly is seen as it grows.

    `minimum_detectable`: None where there is none, or no threshold. `paper`: empty for models without a
    reconstruction, and for `unseen`.
    """

    model_config = _described("detection.severities")

    anomaly: str
    minimum_detectable: float | None
    monotonicity: Bounded
    paper: list[PaperTest]


class Detection(_Section):
    """Scans and voxels called ill at thresholds that healthy validation scans have set.

    `threshold` is n/a where there were fewer `validation_scans` than the protocol asks for. `clinical` is over
    `clinical_patients`.
    """

    model_config = _described("detection")

    voxel_thresholds: list[VoxelThreshold]
    validation_scans: int
    threshold: float | None
    specificity_bounds: tuple[float, float] | None
    specificity: Bounded
    testsets: list[DetectedTestSet]
    severities: list[SeverityResponse]
    clinical: Bounded
    clinical_patients: int


class Stratum(_Section):
    """Test participants of one site, scanner or amyloid status: what ranks, and how many healthy scans were passed."""

    model_config = _described(
        "strata",
        ap_standard="headline.ap_standard",
        healthy_mse="headline.healthy_mse",
        specificity="detection.specificity",
    )

    by: Literal["site", "scanner", "amyloid"]
    value: str
    participants: int
    ap_standard: Bounded
    healthy_mse: Bounded
    specificity: Bounded


class Training(_Section):
    """The training curve: mean of every loss, and the healthy validation MSE, by epoch; what it was computed in."""

    epochs: int
    best_epoch: int | None
    losses: list[dict[str, float]]
    validation_mse: list[float | None]
    precision: Precision


class Cost(_Section):
    """What the result cost on the machine that made it: no part of the scores or their hash. None is unknown."""

    model_config = _described("cost")

    train_seconds: float | None
    inference_seconds_per_scan: float | None
    evaluation_seconds: float
    peak_memory_mib: float
    parameters: int | None
    cpu_minutes: float | None = None
    budget_minutes: float | None = None

    @property
    def over_budget(self) -> bool:
        """Whether the run took more processor time than its protocol grants."""
        return (
            self.cpu_minutes is not None and self.budget_minutes is not None and self.cpu_minutes > self.budget_minutes
        )


class Provenance(_Section):
    """What made the result, and when."""

    uadbench: str
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    threads: int
    commit: str | None
    revisions: dict[str, int]
    model_source: str
    finished: str


class Result(_Section):
    """One run, whole. `score_hash` is a hash of every case's scores to six significant digits.

    `schema_version`: from 4 on nothing about a private cohort follows from an id without the cohort's secret. In 3,
    draws and hashes of who is where did. For a public cohort the two are the same.

    `seal`: in a run folder's file alone, a hash of all the rest, by which damage is found.
    """

    schema_version: Literal[3, 4] = SCHEMA_VERSION
    model: ModelCard
    cohort: CohortCard
    protocol: ProtocolCard
    fold: int
    seed: int
    fit_key: str
    eval_key: str
    testset: Fingerprint
    headline: Headline
    detection: Detection
    strata: list[Stratum]
    scores: list[TestSetScores]
    score_hash: str
    training: Training | None
    cost: Cost
    provenance: Provenance
    seal: str | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _models_without_a_rank_are_unranked(self) -> Result:
        if self.model.weights is not None and self.protocol.ranked:
            raise ValueError("weights that were read from a file are not ranked")
        if self.model.unranked is not None and self.protocol.ranked:
            raise ValueError("a model that is unranked is not ranked")
        return self

    @property
    def reversible(self) -> bool:
        """Whether somebody with a list of candidates can find out who is who, though no id is in it."""
        return not self.cohort.public and self.schema_version < SCHEMA_VERSION

    @property
    def unranked(self) -> str:
        """Why the result stands in no ranking, in words; "" for one that does."""
        if self.model.weights is not None:
            return "the weights came from a file, and were not trained under this protocol"
        if self.model.unranked is not None:
            return self.model.unranked
        return "" if self.protocol.ranked else "the protocol was changed from what ships with uadbench"

    def estimate(self, anomaly: str, severity: float | None, name: str) -> Estimate | None:
        """A metric on one test set; None where it is n/a."""
        for scores in self.scores:
            if scores.anomaly == anomaly and _same(scores.severity, severity):
                return scores.metrics.get(name)
        return None

    def metric(self, anomaly: str, severity: float | None, name: str) -> float | None:
        """The mean of a metric on one test set; None where it is n/a."""
        found = self.estimate(anomaly, severity, name)
        return None if found is None else found.mean

    @property
    def dementias(self) -> list[str]:
        """The simulated dementias, in the order of the protocol."""
        return list(dict.fromkeys(scored.anomaly for scored in self.scores if is_dementia(scored.anomaly)))

    @property
    def severities(self) -> list[float]:
        """The severities of the dementias, rising."""
        found = {s.severity for s in self.scores if is_dementia(s.anomaly) and s.severity is not None}
        return sorted(found)

    @property
    def given(self) -> list[tuple[str, float | None]]:
        """Name and severity of the test sets that another tool has written."""
        return [(s.anomaly, s.severity) for s in self.scores if s.anomaly.startswith(GIVEN)]

    def detected(self, anomaly: str, severity: float | None) -> DetectedTestSet | None:
        """What `detection` says of one test set."""
        for found in self.detection.testsets:
            if found.anomaly == anomaly and _same(found.severity, severity):
                return found
        return None


def write_result(result: Result, folder: Path) -> None:
    """Write a result into a run folder; the scores that it vouches for must lie there already."""
    write_text(folder / RESULT, result_text(result))


def result_text(result: Result) -> str:
    """What a result's file holds in a run folder."""
    return sealed(result.model_dump(mode="json"))


def read_result(reference: Path, *, most: int = LARGEST_SEALED, finite: bool = False) -> Result:
    """Read a result from a run folder or a result file.

    That of a run folder is sealed; one that was committed to a leaderboard lies under another name, without a seal.

    Args:
        reference: The folder or the file.
        most: How many bytes it may have.
        finite: Whether NaN and infinity are refused.

    Returns:
        The result.

    Raises:
        InputError: There is none, it does not fit the schema, or it is not what was written.
    """
    file = reference / RESULT if reference.is_dir() else reference
    try:
        content = read_json(file, most, finite=finite)
    except FileNotFoundError:
        raise InputError(f"{reference}: no result here; give a run folder or its {RESULT}") from None
    result = check_result(content, str(file))
    try:
        unsealed(content, required=file.name == RESULT)
    except ValueError as error:
        raise InputError(f"{file}: {error}; give the command that made it again") from None
    return result


def check_result(content: Mapping[str, Any], label: str) -> Result:
    """Check the content of a result against the schema, and its names for characters that nobody can read."""
    try:
        result = Result.model_validate(content).model_copy(update={"seal": None})
    except ValidationError as error:
        place, reason = first_fault(error)
        where = "".join(f"{each}: " for each in [".".join(map(str, place))] if each)
        raise InputError(f"{label}: not a result of schema version {SCHEMA_VERSION}: {where}{reason}") from None
    for what, name in names_of(result):
        if steers(name):
            raise InputError(f"{label}: {what} is called {name[:80]!r}; use letters, digits and visible signs")
    return result


def names_of(result: Result) -> Iterator[tuple[str, str]]:
    """Everything in a result that has a name: what it is, and what it is called."""
    yield "the model", result.model.name
    yield "the protocol", result.protocol.name
    yield "the cohort", result.cohort.name
    if result.cohort.tested_on is not None:
        yield "the test cohort", result.cohort.tested_on
    yield from ((f"option {name!r:.40} of the model", name) for name in result.model.options)
    yield from (("a test set", scores.anomaly) for scores in result.scores)
    yield from (("a metric", name) for scores in result.scores for name in scores.metrics)


def _same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other)


def rounded(value: float) -> float:
    """A number to the digits that results hold."""
    return float(f"{value:.{DIGITS}g}")


if __name__ == "__main__":  # python -m uadbench.results.schema > uadbench/results/result.schema.json
    print(json.dumps(Result.model_json_schema(), indent=2))
