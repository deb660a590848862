"""The class `Metric`, which describes a number: its label, unit, direction, range, meaning and source."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

PAPER = "Hassanaly et al. 2023, SPIE Medical Imaging"
MELBA = "Hassanaly et al. 2024, MELBA 2024:003"

Better = Literal["higher", "lower", "neither"]
Interval = Literal["own", "ranking", ""]


@dataclass(frozen=True)
class Value:
    """The replacement of a placeholder.

    Attributes:
        label: Its text in a label.
        meaning: Its text in a sentence.
    """

    label: str
    meaning: str


PLACEHOLDERS: Mapping[str, Mapping[str, Value]] = {
    "map": {
        "standard": Value("", "the standard map"),
        "native": Value("native", "the map as the model returns it"),
    },
    "region": {
        "whole": Value("", "the whole volume"),
        "brain": Value("brain", "the brain"),
        "truth": Value("truth", "the truth"),
        "outside": Value("outside", "the brain outside the truth"),
    },
    "image": {
        "healthy": Value("x", "the healthy scan x"),
        "altered": Value("x'", "the altered scan x'"),
        "from_healthy": Value("x̂", "the reconstruction x̂ of the healthy scan"),
        "from_altered": Value("x̂'", "the reconstruction x̂' of the altered scan"),
    },
    "rate": {},
}
"""Placeholders in names, and the values that replace them; `rate` is a number, a share of healthy validation voxels."""

_PLACEHOLDER = re.compile(r"<(\w+)>")
_RATE = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"


@dataclass(frozen=True)
class Metric:
    """The description of a number, or of a family of numbers with placeholders in their names and texts.

    Attributes:
        name: The column of the scores, or the path in a result: `ap.<map>`, `headline.ap_standard`.
        label: The full label.
        help: The meaning: a noun phrase without a full stop.
        computed: The function that computes it, `module:function`.
        better: Which direction is better.
        unit: The unit; "" for a dimensionless number.
        low: The lowest possible value.
        high: The highest possible value.
        source: The paper or definition that it follows; "" if it was defined for uadbench.
        heading: The short label for the heading of a table column; by default the label.
        interval: The interval over participants that sets the tolerance of `uadbench check`: the metric's own ("own"),
            or that of the ranking AP, of which it is a part ("ranking"); "" if `uadbench check` does not use it.
    """

    name: str
    label: str
    help: str
    computed: str
    better: Better = "neither"
    unit: str = ""
    low: float = 0.0
    high: float = math.inf
    source: str = ""
    heading: str = ""
    interval: Interval = ""

    def __post_init__(self) -> None:
        if not self.heading:
            object.__setattr__(self, "heading", self.label)

    @property
    def sentence(self) -> str:
        """The meaning as a sentence."""
        return f"{_capitalised(self.help)}."

    @property
    def description(self) -> str:
        """The meaning, direction, range and unit in sentences."""
        unit = f", in {self.unit}" if self.unit else ""
        return f"{self.sentence} {_capitalised(self.direction)}; {self.range}{unit}."

    @property
    def explained(self) -> str:
        """The label and the meaning, for a note below a table."""
        return f"{_capitalised(self.label)}: {self.help}."

    @property
    def direction(self) -> str:
        """Which direction is better, in words."""
        return "neither direction is better" if self.better == "neither" else f"{self.better} is better"

    @property
    def range(self) -> str:
        """The range of values, in words."""
        if math.isinf(self.low):
            return "any number"
        return f"{self.low:g} or more" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"

    @property
    def placeholders(self) -> list[str]:
        """The placeholders in the name."""
        return _PLACEHOLDER.findall(self.name)

    def matched(self, column: str) -> Metric | None:
        """The metric with this name, if it is this metric or a member of this family.

        Args:
            column: A name without placeholders, such as `dice.fpr0.01`.

        Returns:
            The metric, with the placeholders replaced in all texts; None if the name does not match.
        """
        match = re.fullmatch(_PLACEHOLDER.sub(_group, re.escape(self.name)), column)
        if match is None:
            return None
        values = {key: PLACEHOLDERS[key].get(text, Value(text, text)) for key, text in match.groupdict().items()}
        labels = {key: value.label for key, value in values.items()}
        meanings = {key: value.meaning for key, value in values.items()}
        return replace(
            self,
            name=column,
            label=_filled(self.label, labels),
            help=_filled(self.help, meanings),
            heading=_filled(self.heading, labels),
        )

    def to_json(self) -> dict[str, Any]:
        """All attributes and the meanings of the placeholders, for JSON; None for an infinite limit."""
        ends = {"low": self.low, "high": self.high}
        finite = {name: float(value) if math.isfinite(value) else None for name, value in ends.items()}
        meanings = {key: {word: v.meaning for word, v in PLACEHOLDERS[key].items()} for key in self.placeholders}
        return {**vars(self), **finite, "placeholders": meanings}


def placeholder_rows() -> Iterator[tuple[str, str]]:
    """Yield each placeholder with the values that may replace it, as text."""
    for name, words in PLACEHOLDERS.items():
        listed = ", ".join(f"{word} ({value.meaning})" for word, value in words.items())
        yield f"<{name}>", listed or "a share of healthy validation voxels, such as 0.01"


def _group(match: re.Match[str]) -> str:
    """The regular-expression group that matches the values of a placeholder."""
    words = PLACEHOLDERS[match[1]]
    return f"(?P<{match[1]}>{'|'.join(map(re.escape, words)) or _RATE})"


def _filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders replaced, and without the double spaces that empty values leave."""
    return " ".join(_PLACEHOLDER.sub(lambda match: values[match[1]], text).split())


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
