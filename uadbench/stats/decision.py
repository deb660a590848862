"""Simulation of the decision rule: how often it finds differences that exist, and that do not.

`python -m uadbench.stats.decision` prints the table. The only number taken from real scores is the standard deviation
over participants of the difference between two models. By default it is `SUBJECT_SD`; with the path of a file that
`uadbench compare RUNS --json` printed, it is the median of that comparison.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from uadbench.stats.bootstrap import LEVEL
from uadbench.stats.paired import Contrasts, contrasts
from uadbench.stats.trainings import Scored
from uadbench.types import Values

SUBJECT_SD = 0.073
"""Median of `subject_sd`, for the ranking AP, of `uadbench compare leaderboard/results/quick/phantom/*/*.json --json`
without `identity`, whose score is chance."""

GAINS = (0.01, 0.02, 0.04)
"""The differences whose power is simulated."""

TRIALS = 1000
"""The number of boards of equal models; a tenth of it for each difference."""

PRIOR_FREEDOM = 1.2
"""Degrees of freedom of the inverse chi-square distribution in the rows where the models' seed SDs vary."""

HEADINGS = (
    *("seed SD", "varies", "one in ten fails", "any false difference", "same if seeds ignored"),
    *(f"power {gain}" for gain in GAINS),
    *("difference covered", "ranks covered"),
)


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        seed_sd: The standard deviation between the trainings of a model.
        varies: Whether the standard deviation differs between models, around `seed_sd`.
        failing: The share of trainings that fail; they are left out, as the rule demands.
        gain: By how much every second model is better than the others.
        models: The number of models.
        trainings: The number of trainings of each model.
        subjects: The number of subjects.
        subject_sd: The standard deviation over subjects of the difference between two models.
    """

    seed_sd: float = 0.0
    varies: bool = False
    failing: float = 0.0
    gain: float = 0.0
    models: int = 18
    trainings: int = 3
    subjects: int = 100
    subject_sd: float = SUBJECT_SD

    def draw(self, rng: np.random.Generator) -> tuple[list[Scored], Values]:
        """Draw one board.

        Args:
            rng: The random numbers.

        Returns:
            The models of which a training did not fail, and their true scores, (models,).
        """
        truth = np.where(np.arange(self.models) % 2 == 0, self.gain, 0.0)
        own = self.subject_sd / np.sqrt(2) * rng.standard_normal((self.models, 1, self.subjects))
        spread = np.full(self.models, self.seed_sd)
        if self.varies:
            spread *= np.sqrt(PRIOR_FREEDOM / rng.chisquare(PRIOR_FREEDOM, self.models))
        shifts = spread[:, None] * rng.standard_normal((self.models, self.trainings))
        scores = 0.5 + truth[:, None, None] + own + shifts[..., None]
        sound = rng.random((self.models, self.trainings)) >= self.failing
        left = sound.any(axis=1)
        models = [Scored(each[kept]) for each, kept in zip(scores, sound, strict=True) if kept.any()]
        return models, truth[left]


@dataclass(frozen=True)
class Shares:
    """The behaviour of the rule, as shares of the trials, or of the pairs of all trials.

    Attributes:
        false: Trials in which any two equal models are found to differ, or the worse one to be better.
        blind: The same if all trainings of a model are averaged first.
        power: Pairs with a true difference that are found to differ.
        differences: Pairs whose 95 % interval of the difference contains the true one.
        ranks: Trials in which all true ranks are in their sets.
    """

    false: float
    blind: float
    power: float
    differences: float
    ranks: float


def simulate(scenario: Scenario, trials: int, seed: int = 0) -> Shares:
    """Apply the rule to simulated boards.

    Args:
        scenario: What is simulated.
        trials: The number of boards.
        seed: The seed of the random numbers.

    Returns:
        The shares; `power` is NaN without a gain.
    """
    rng = np.random.default_rng(seed)
    rows = [_outcome(*scenario.draw(rng)) for _ in range(trials)]
    false, blind, power, differences, ranks = np.array(rows).T
    return Shares(*(float(each.mean()) for each in (false, blind, power, differences, ranks)))


def _outcome(models: Sequence[Scored], truth: Values) -> tuple[float, float, float, float, float]:
    """The shares of one board."""
    found = contrasts(models)
    averaged = [Scored(model.values.mean(axis=0, keepdims=True), trained=False) for model in models]
    true = truth[found.first] - truth[found.second]
    power = float((found.p[true != 0] < 1 - LEVEL).mean()) if true.any() else np.nan
    return _errs(found, true), _errs(contrasts(averaged), true), power, _covered(found, true), _contains(found, truth)


def _covered(found: Contrasts, true: Values) -> float:
    """The share of pairs whose interval contains the true difference."""
    if not true.any():
        return float((found.raw >= 1 - LEVEL).mean())
    off = np.split(found.difference - true, np.cumsum([len(spread.others) for spread in found.spreads])[:-1])
    p_values = [spread.tail(each) for spread, each in zip(found.spreads, off, strict=True)]
    return float((np.concatenate(p_values) >= 1 - LEVEL).mean())


def _errs(found: Contrasts, true: Values) -> float:
    """1 if a difference is found that does not exist, or has the other sign; else 0."""
    return float(((found.p < 1 - LEVEL) & (true * found.difference <= 0)).any())


def _contains(found: Contrasts, truth: Values) -> float:
    """1 if each set contains all ranks that its model may claim: equal models share several ranks."""
    better, worse = (truth > truth[:, None]).sum(axis=1), (truth < truth[:, None]).sum(axis=1)
    low, high = np.array(found.rank_sets()).T
    return float(((low <= 1 + better) & (len(truth) - worse <= high)).all())


def main(arguments: Sequence[str]) -> None:
    """Print the table.

    Args:
        arguments: Nothing, or the path of what `uadbench compare --json` printed.
    """
    base = Scenario(subject_sd=_median_sd(Path(arguments[0])) if arguments else SUBJECT_SD)
    print(
        f"{base.models} models, {base.trainings} trainings, {base.subjects} participants; SD over participants of the "
        f"difference between two models {base.subject_sd:.3g}"
    )
    print("  ".join(HEADINGS))
    for failing in (0.0, 0.1):
        for seed_sd, varies in ((0.0, False), (0.008, False), (0.016, False), (0.008, True)):
            print(_line(replace(base, seed_sd=seed_sd, varies=varies, failing=failing)))


def _median_sd(file: Path) -> float:
    """The median SD over participants of the differences of a comparison's first measure."""
    pairs = json.loads(file.read_text(encoding="utf-8"))
    return float(np.median([pair["subject_sd"] for pair in pairs if pair["measure"] == pairs[0]["measure"]]))


def _line(scenario: Scenario) -> str:
    equal = simulate(scenario, TRIALS)
    powers = [simulate(replace(scenario, gain=gain), TRIALS // 10, seed=1) for gain in GAINS]
    numbers = [equal.false, equal.blind, *(each.power for each in powers)]
    covered = [np.mean([each.differences for each in (equal, *powers)]), min(each.ranks for each in (equal, *powers))]
    texts = [f"{scenario.seed_sd:g}", "yes" if scenario.varies else "no", "yes" if scenario.failing else "no"]
    texts += [f"{number:.1%}" for number in [*numbers, *covered]]
    return "  ".join(text.rjust(len(heading)) for text, heading in zip(texts, HEADINGS, strict=True))


if __name__ == "__main__":
    main(sys.argv[1:])
