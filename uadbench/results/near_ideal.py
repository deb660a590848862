"""The near-ideal reference: what a linear filter with almost unlimited healthy scans finds on the same test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from uadbench.errors import InputError
from uadbench.results.schema import Bounded, Result
from uadbench.runtime.files import file_name
from uadbench.runtime.reading import read_document

FOLDER = Path(__file__).with_name("references")
"""The references that ship with uadbench, one file for each protocol version and test set."""

MODEL = "wiener"
LARGEST = 1_000_000


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Precision(_Section):
    """Average precision of the standard map on one test set, with its 95 % interval over participants."""

    anomaly: str
    severity: float | None
    ap: Bounded


class Reference(_Section):
    """The scores of the filter, fitted on a large sample of the phantom, on the test sets of a protocol.

    Attributes:
        protocol: Name of the protocol.
        protocol_hash: Its hash.
        cohort: Name of the cohort whose test sets were scored.
        cohort_version: Its version.
        recipe: The exact part of the fingerprint of the test sets.
        scans: Number of healthy scans that the filter was fitted on, one per participant, none of the cohort's.
        ap: The ranking AP, with its 95 % interval over participants.
        ap_dementias: Its half from dementias.
        ap_unseen: Its half from `unseen`.
        halves: The ranking AP of the filter fitted on each half of the scans: what the sample of the fit changes.
        testsets: Average precision per test set and severity.
    """

    protocol: str
    protocol_hash: str
    cohort: str
    cohort_version: str
    recipe: str
    scans: int
    ap: Bounded
    ap_dementias: float
    ap_unseen: float
    halves: tuple[float, float]
    testsets: tuple[Precision, ...]

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.protocol}-{file_name(self.cohort)}-{self.protocol_hash[:8]}-{self.recipe[:8]}.json"


@dataclass(frozen=True)
class NearIdeal:
    """A lower bound on what can be found, as tables and figures show it.

    Attributes:
        label: What it is called.
        ap: The ranking AP.
        testsets: (anomaly, severity) -> average precision.
        meaning: One sentence on what it is.
    """

    label: str
    ap: float
    testsets: Mapping[tuple[str, float | None], float]
    meaning: str

    def at(self, anomaly: str, severity: float | None) -> float | None:
        """Average precision on one test set; None if unknown."""
        return self.testsets.get((anomaly, severity))

    def __str__(self) -> str:
        return f"{self.label} {self.ap:#.3g}"


def near_ideal(result: Result, alongside: Sequence[Result] = ()) -> NearIdeal | None:
    """The near-ideal reference of a result.

    Args:
        result: The result.
        alongside: Results of the same sweep or board. Without a reference for these test sets, the filter among them,
            which was fitted on the training scans only, takes its place.

    Returns:
        The reference; None if there is neither.
    """
    key = (result.protocol.hash, result.cohort.name, result.cohort.version, result.testset.recipe)
    if result.cohort.tested_on is None and (shipped := _references(FOLDER).get(key)) is not None:
        return NearIdeal(
            "near-ideal",
            shipped.ap.value or 0.0,
            {(each.anomaly, each.severity): each.ap.value for each in shipped.testsets if each.ap.value is not None},
            f"Near-ideal: a linear filter fitted on {shipped.scans} other healthy scans, a lower bound on what can be "
            "found.",
        )
    for other in alongside:
        same = (other.protocol.hash, other.testset.recipe) == (result.protocol.hash, result.testset.recipe)
        if same and other.model.name == MODEL and other.headline.ap_standard is not None:
            precisions = {
                (scored.anomaly, scored.severity): value
                for scored in other.scores
                if (value := other.metric(scored.anomaly, scored.severity, "ap.standard")) is not None
            }
            return NearIdeal(
                f"{MODEL} on the training scans",
                other.headline.ap_standard,
                precisions,
                f"No near-ideal reference exists for these test sets; {MODEL} is the same linear filter, fitted on the "
                "training scans.",
            )
    return None


def read_reference(file: Path) -> Reference:
    """Read a reference.

    Raises:
        InputError: If the file is corrupted.
    """
    try:
        return Reference.model_validate_json(read_document(file, LARGEST))
    except ValidationError:
        raise InputError(f"{file}: not a near-ideal reference; compute it again") from None


@lru_cache(maxsize=4)
def _references(folder: Path) -> dict[tuple[str, str, str, str], Reference]:
    references = [read_reference(file) for file in sorted(folder.glob("*.json"))]
    return {(each.protocol_hash, each.cohort, each.cohort_version, each.recipe): each for each in references}
