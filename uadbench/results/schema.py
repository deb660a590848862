"""The schema of a result (the scores of one run with full provenance), and reading and writing of its JSON file."""

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

SCHEMA_VERSION: Literal[5] = 5
RESULT = "result.json"
PEOPLE = "people.json"
"""File in a run folder that lists the participants of each part, with the hashes that results use; never shared."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _described(path: str, **elsewhere: str) -> ConfigDict:
    """Take the descriptions of a section's fields in the JSON schema from the catalogue of metrics.

    Args:
        path: Path of the section in a result, without indices of lists.
        **elsewhere: Field name -> name in the catalogue, for fields with another name there.

    Returns:
        Configuration for the section.
    """

    def describe(schema: dict[str, Any]) -> None:
        names = {metric.name for metric in METRICS}
        for name, field in schema["properties"].items():
            number = elsewhere.get(name, f"{path}.{name}")
            if number in names:
                field["description"] = metric_of(number).description

    return ConfigDict(json_schema_extra=describe)


def _describe_columns(schema: dict[str, Any]) -> None:
    """Describe the columns of scores in the JSON schema."""
    columns = [f"`{metric.name}`: {metric.description}" for metric in SCORES]
    words = [f"`{name}`: {words}." for name, words in placeholder_rows()]
    schema["properties"]["metrics"]["description"] = "\n".join([*columns, *words])


class ModelCard(_Section):
    """The model card in a result: which model, with which options.

    `weights`: None if the weights were trained for this result; otherwise the SHA-256 of the file from which they were
    read. For such weights, the training scans and the training budget are unknown.

    `answers`: None for a model that ran here; otherwise the hash of the files with a tool's answers (`uadbench score`).
    Such a tool ran elsewhere, and cannot be run again from here.

    `unranked`: None, or why the model has no rank: its code is unknown, or it started with undeclared learnt weights.
    """

    name: str
    options: dict[str, JsonValue]
    reconstructs: bool
    reference: str
    weights: str | None = None
    answers: str | None = None
    unranked: str | None = None


class CohortCard(_Section):
    """The cohort summary in a result: where the scans came from.

    `public`: whether participants may be named in what is shared. `tested_on`: the cohort of the test scans, if it is
    a different one. `healthy`, `ill`: the diagnoses of healthy scans and of patients. `split`: a hash of the training,
    validation and test participants (with the secret of a private cohort). `origin`: the split has the protocol's
    sizes, the same proportions for a smaller cohort ("scaled"), or was given by the user. The numbers count scans.
    `shared_images`: test scans that are identical, voxel by voxel, to a training or validation scan.
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
    audit: int = 0
    shared_images: int

    @property
    def title(self) -> str:
        """The name of the cohort, followed by that of the test cohort if it is another one."""
        return self.name if self.tested_on is None else f"{self.name} -> {self.tested_on}"


class ProtocolCard(_Section):
    """The protocol; `ranked` is false if it differs from the version in uadbench.

    `ranked` is also false if the weights were not trained under the protocol, or the model is unranked (see
    `ModelCard`). `intensity`: "minmax" is the paper's scale, each healthy scan's own range at full resolution; "suvr"
    is a fixed scale.
    """

    name: str
    version: int
    hash: str
    intensity: Literal["suvr", "minmax"]
    ranked: bool


class Fingerprint(_Section):
    """The fingerprint of test sets: if they are equal, so is `recipe`, and `sketch` up to a tolerance."""

    recipe: str
    sketch: dict[str, float]


class Estimate(_Section):
    """Mean and standard deviation of a metric over the n cases of a test set; None for n/a.

    `low` and `high` are the 95 % interval of the mean over participants; all test sets use the same resamples.
    """

    mean: float | None
    low: float | None
    high: float | None
    sd: float | None
    n: int


class Bounded(_Section):
    """An estimate with its 95 % interval; None for n/a."""

    value: float | None
    low: float | None
    high: float | None


class TestSetScores(_Section):
    """All metrics of one test set.

    Besides simulated test sets there are `healthy` (test scans), `validation` (also healthy) and `patients`, all with
    severity 0. The severity of `varied` is None, since it differs between cases.
    """

    model_config = ConfigDict(json_schema_extra=_describe_columns)

    anomaly: str
    severity: float | None
    metrics: dict[str, Estimate]


class Headline(_Section):
    """The main numbers of a result, over the `severities` that count for the ranking; None for n/a."""

    model_config = _described("headline")

    severities: tuple[float, ...]
    ap_standard: float | None
    ap_interval: tuple[float, float] | None
    ap_dementias: float | None
    ap_unseen: float | None
    ap_native: float | None
    prevalence: float | None
    healthy_mse: float | None
    validation_mse: float | None


class VoxelThreshold(_Section):
    """A voxel threshold: the value of the standard map that a fraction of healthy validation voxels exceeds.

    `low` and `high` are the 95 % interval of the threshold.
    """

    model_config = _described("detection.voxel_thresholds")

    false_positive_rate: float
    value: float
    low: float
    high: float


class DetectedTestSet(_Section):
    """How well the scores of a test set's scans separate them from healthy test scans.

    The interval of `sensitivity` covers test participants and the participants who set the threshold. `matched` is n/a
    if there are too few healthy test scans for the protocol's specificity.
    """

    model_config = _described("detection.testsets")

    anomaly: str
    severity: float | None
    auroc: Bounded
    sensitivity: Bounded
    matched: Bounded


class PaperTest(_Section):
    """The paper's Figure 1 at one severity.

    The paper does not say whether its test was paired. The p values are not adjusted: compare them with 0.05 /
    severities.
    """

    model_config = _described("detection.severities.paper")

    severity: float
    ratio: float
    p_paired: float | None
    p_unpaired: float | None


class SeverityResponse(_Section):
    """The response to one anomaly as its severity increases.

    `minimum_detectable`: None if no severity is detectable, or there is no threshold. `paper`: empty for models without
    a reconstruction, and for `unseen`.
    """

    model_config = _described("detection.severities")

    anomaly: str
    minimum_detectable: float | None
    monotonicity: Bounded
    paper: list[PaperTest]


class PatientGroup(_Section):
    """How well the scan scores of the patients with one diagnosis separate them from healthy test scans.

    `group`: the diagnosis, as the cohort spells it. `clinical` is computed over `clinical_patients`.
    """

    model_config = _described(
        "detection",
        auroc="detection.testsets.auroc",
        sensitivity="detection.testsets.sensitivity",
        matched="detection.testsets.matched",
    )

    group: str
    patients: int
    auroc: Bounded
    sensitivity: Bounded
    matched: Bounded
    clinical: Bounded
    clinical_patients: int


class Detection(_Section):
    """Detection of scans and voxels at thresholds set on healthy validation scans.

    `threshold` is n/a if there were fewer `validation_scans` than the protocol requires. `clinical` is computed over
    `clinical_patients`, the patients of all diagnoses; `patients` has them by diagnosis.
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
    patients: list[PatientGroup] = []


class Stratum(_Section):
    """Test participants of one site, scanner or amyloid status, with the ranking score and the specificity."""

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


class ShiftResponse(_Section):
    """The response to one shift: false alarms in shifted healthy scans, and average precision on shifted altered ones.

    `ap_kept` is above 1 if the shift helps.
    """

    model_config = _described("robustness.shifts")

    shift: str
    false_alarms: Bounded
    ap_kept: Bounded


class Robustness(_Section):
    """Scores under domain shift, with the thresholds of unshifted validation scans.

    `participants`: those with shifted altered scans, over whom `ap_kept` is computed. `unshifted`: the false-alarm rate
    of the same healthy scans without a shift. `worst_shift` and `least_shift` name the shifts of `worst_false_alarms`
    and `least_ap_kept`; `cut`, which removes tissue, is not among them.
    """

    model_config = _described("robustness")

    participants: int
    unshifted: Bounded
    shifts: list[ShiftResponse]
    worst_shift: str | None
    worst_false_alarms: float | None
    least_shift: str | None
    least_ap_kept: float | None


class BiasGroup(_Section):
    """Healthy participants in one third of the ages (in whole years), or of one sex, with their false-alarm rate."""

    model_config = _described("bias.groups")

    by: Literal["age", "sex"]
    value: str
    participants: int
    false_alarms: Bounded


class Bias(_Section):
    """False alarms by age and sex over healthy test participants and those of the bias audit (`audited`)."""

    model_config = _described("bias")

    participants: int
    audited: int
    groups: list[BiasGroup]
    p_age: float | None
    p_sex: float | None


class Training(_Section):
    """The training curve by epoch: mean of every loss, and MSE of healthy validation scans; and the precision used."""

    epochs: int
    best_epoch: int | None
    losses: list[dict[str, float]]
    validation_mse: list[float | None]
    precision: Precision


class Cost(_Section):
    """Time and memory on the machine that made the result; not part of the scores or their hash. None for unknown."""

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
        """Whether the run took more processor time than its protocol allows."""
        return (
            self.cpu_minutes is not None and self.budget_minutes is not None and self.cpu_minutes > self.budget_minutes
        )


class Provenance(_Section):
    """Software, machine and time of a result. `processor` is the model of the CPU, null where it is unknown.

    `instruction_set`: the vector instructions that torch used. `kernel_libraries`: versions of oneDNN and of the BLAS
    libraries.
    """

    uadbench: str
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    threads: int
    processor: str | None = None
    instruction_set: str | None = None
    kernel_libraries: dict[str, str] = {}
    commit: str | None
    revisions: dict[str, int]
    model_source: str
    finished: str


class Result(_Section):
    """The result of one run. `score_hash` is a hash of every case's scores to six significant digits.

    `schema_version`: results of earlier versions are refused, since other truths and test sets gave their scores.

    `robustness` and `bias`: None if the protocol has no shifted scans, or there is no scan threshold.

    `seal`: only in a run folder's file, a hash of all other content, which reveals damage.
    """

    schema_version: Literal[5] = SCHEMA_VERSION
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
    robustness: Robustness | None = None
    bias: Bias | None = None
    scores: list[TestSetScores]
    score_hash: str
    training: Training | None
    cost: Cost
    provenance: Provenance
    seal: str | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _models_without_a_rank_are_unranked(self) -> Result:
        if self.model.weights is not None and self.protocol.ranked:
            raise ValueError("a result with weights from a file is not ranked")
        if self.model.unranked is not None and self.protocol.ranked:
            raise ValueError("a result of an unranked model is not ranked")
        return self

    @property
    def unranked(self) -> str:
        """Why the result is not ranked, in words; "" if it is ranked."""
        if self.model.weights is not None:
            return "the weights are from a file, and were not trained under this protocol"
        if self.model.unranked is not None:
            return self.model.unranked
        return "" if self.protocol.ranked else "the protocol differs from the one in uadbench"

    def estimate(self, anomaly: str, severity: float | None, name: str) -> Estimate | None:
        """A metric with its interval on one test set; None for n/a."""
        for scores in self.scores:
            if scores.anomaly == anomaly and _same(scores.severity, severity):
                return scores.metrics.get(name)
        return None

    def metric(self, anomaly: str, severity: float | None, name: str) -> float | None:
        """The mean of a metric on one test set; None for n/a."""
        estimate = self.estimate(anomaly, severity, name)
        return None if estimate is None else estimate.mean

    @property
    def dementias(self) -> list[str]:
        """The simulated dementias, in the order of the protocol."""
        return list(dict.fromkeys(scored.anomaly for scored in self.scores if is_dementia(scored.anomaly)))

    @property
    def severities(self) -> list[float]:
        """The severities of the dementias, ascending."""
        return sorted({s.severity for s in self.scores if is_dementia(s.anomaly) and s.severity is not None})

    @property
    def given(self) -> list[tuple[str, float | None]]:
        """Name and severity of the test sets that were altered by another tool."""
        return [(s.anomaly, s.severity) for s in self.scores if s.anomaly.startswith(GIVEN)]

    def detected(self, anomaly: str, severity: float | None) -> DetectedTestSet | None:
        """The part of `detection` for one test set; None if there is none."""
        for testset in self.detection.testsets:
            if testset.anomaly == anomaly and _same(testset.severity, severity):
                return testset
        return None

    def matched(self, severity: float) -> float | None:
        """The sensitivity at matched specificity, mean over dementias; None if it is n/a for any of them."""
        found = [self.detected(name, severity) for name in self.dementias]
        values = [each.matched.value for each in found if each is not None and each.matched.value is not None]
        return sum(values) / len(values) if values and len(values) == len(found) else None


def write_result(result: Result, folder: Path) -> None:
    """Write a result into a run folder, which must already hold its scores."""
    write_text(folder / RESULT, result_text(result))


def result_text(result: Result) -> str:
    """The content of a result's file in a run folder."""
    return sealed(result.model_dump(mode="json"))


def read_result(reference: Path, *, most: int = LARGEST_SEALED, finite: bool = False) -> Result:
    """Read a result from a run folder or a result file.

    The file in a run folder is sealed; a result on a leaderboard has another name, and no seal.

    Args:
        reference: The run folder or the result file.
        most: Largest allowed size, in bytes.
        finite: Whether NaN and infinity are rejected.

    Returns:
        The result.

    Raises:
        InputError: If there is no result, it does not match the schema, or it has been changed since it was written.
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
        raise InputError(f"{file}: {error}; rerun the command that created it") from None
    return result


def check_result(content: Mapping[str, Any], label: str) -> Result:
    """Check the content of a result against the schema, and its names for invisible characters.

    Args:
        content: The parsed JSON.
        label: What error messages call it, for example its file.

    Raises:
        InputError: If it does not match the schema, or a name has invisible characters.
    """
    try:
        result = Result.model_validate(content).model_copy(update={"seal": None})
    except ValidationError as error:
        path, reason = first_fault(error)
        where = "".join(f"{each}: " for each in [".".join(map(str, path))] if each)
        older = "; repeat the run with this version of uadbench" if path == ("schema_version",) else ""
        raise InputError(f"{label}: not a result of schema version {SCHEMA_VERSION}: {where}{reason}{older}") from None
    for what, name in names_of(result):
        if steers(name):
            raise InputError(f"{label}: {what} is called {name[:80]!r}; use letters, digits and visible characters")
    return result


def names_of(result: Result) -> Iterator[tuple[str, str]]:
    """Yield everything in a result that has a name: what it is, and its name."""
    yield "the model", result.model.name
    yield "the protocol", result.protocol.name
    yield "the cohort", result.cohort.name
    if result.cohort.tested_on is not None:
        yield "the test cohort", result.cohort.tested_on
    yield from ((f"option {name!r:.40} of the model", name) for name in result.model.options)
    yield from (("a test set", scores.anomaly) for scores in result.scores)
    yield from (("a diagnosis", group.group) for group in result.detection.patients)
    yield from (("a metric", name) for scores in result.scores for name in scores.metrics)


def _same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other)


def rounded(value: float) -> float:
    """A number rounded to the digits that results store."""
    return float(f"{value:.{DIGITS}g}")


if __name__ == "__main__":  # python -m uadbench.results.schema > uadbench/results/result.schema.json
    print(json.dumps(Result.model_json_schema(), indent=2))
