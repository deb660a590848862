"""The description of one metric: label, unit, direction, range, meaning and source."""

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
    """What a placeholder stands for, in a label and in a sentence."""

    label: str
    meaning: str


PLACEHOLDERS: Mapping[str, Mapping[str, Value]] = {
    "map": {
        "standard": Value("", "the standard map"),
        "native": Value("native", "the map as the model gives it"),
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
"""Placeholders in names and the words that replace them; `rate` is a number, a share of healthy validation voxels."""

_PLACEHOLDER = re.compile(r"<(\w+)>")
_RATE = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"


@dataclass(frozen=True)
class Metric:
    """One number, or a family of numbers whose name, texts and labels hold the same placeholders.

    Attributes:
        name: The column of the scores, or the path in a result: `ap.<map>`, `headline.ap_standard`.
        label: What it is called where it stands alone.
        help: What it is: a noun phrase without a full stop.
        computed: The function that computes it, `module:function`.
        better: Which direction is better.
        unit: "" for a pure number.
        low: The lowest possible value.
        high: The highest possible value.
        source: The paper or definition that it follows; "" for one of our own.
        heading: What it is called at the head of a column, beside others; by default the label.
        interval: Which interval over participants sets its tolerance where `uadbench check` watches it: its own, or
            that of the ranking AP, of which it is a part; "" for what is never watched.
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
        """Its help as a sentence."""
        return f"{_capitalised(self.help)}."

    @property
    def description(self) -> str:
        """Help, direction, range and unit in sentences."""
        unit = f", in {self.unit}" if self.unit else ""
        return f"{self.sentence} {_capitalised(self.direction)}; {self.range}{unit}."

    @property
    def explained(self) -> str:
        """Its label and its help, as in a note below a table."""
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
        """The placeholders in its name."""
        return _PLACEHOLDER.findall(self.name)

    def matched(self, column: str) -> Metric | None:
        """The number of a name without placeholders, if this is it or a family that has it.

        Args:
            column: A name, such as `dice.fpr0.01`.

        Returns:
            The metric with the placeholders filled in everywhere, or None.
        """
        found = re.fullmatch(_PLACEHOLDER.sub(_group, re.escape(self.name)), column)
        if found is None:
            return None
        values = {key: PLACEHOLDERS[key].get(text, Value(text, text)) for key, text in found.groupdict().items()}
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
        """All attributes for JSON, with None for an infinite limit, and the meaning of the placeholders."""
        ends = {"low": self.low, "high": self.high}
        finite = {name: float(value) if math.isfinite(value) else None for name, value in ends.items()}
        meanings = {key: {word: v.meaning for word, v in PLACEHOLDERS[key].items()} for key in self.placeholders}
        return {**vars(self), **finite, "placeholders": meanings}


def placeholder_rows() -> Iterator[tuple[str, str]]:
    """Every placeholder and the words that it stands for, for a reader."""
    for name, words in PLACEHOLDERS.items():
        listed = ", ".join(f"{word} ({value.meaning})" for word, value in words.items())
        yield f"<{name}>", listed or "a share of healthy validation voxels, such as 0.01"


def _group(found: re.Match[str]) -> str:
    """A placeholder as a group of a regular expression."""
    words = PLACEHOLDERS[found[1]]
    return f"(?P<{found[1]}>{'|'.join(map(re.escape, words)) or _RATE})"


def _filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders replaced, without the blanks that empty ones leave."""
    return " ".join(_PLACEHOLDER.sub(lambda found: values[found[1]], text).split())


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
