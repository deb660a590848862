"""A cell becomes a result: fit or load, evaluate, write; killed at any moment, it continues."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from uadbench import analysis, failures, registry
from uadbench.batches import Batches
from uadbench.claims import claim
from uadbench.errors import InputError
from uadbench.evaluation import REVISIONS, Evaluator, score_scans
from uadbench.examples import EXAMPLES, Examples, write_examples
from uadbench.material import TESTING, TRAINING, Material
from uadbench.models.base import Model
from uadbench.models.checkpoint import (
    CURVE,
    WEIGHTS,
    build_model,
    copy_model,
    has_model,
    load_weights,
    parameter_count,
    save_model,
)
from uadbench.models.given_weights import GivenWeights, load_given
from uadbench.models.initial import Initial, initial_state
from uadbench.progress import Progress
from uadbench.protocol import is_shipped, store_protocol
from uadbench.provenance import peak_memory_mib, provenance
from uadbench.reading import read_json
from uadbench.results import (
    PEOPLE,
    CohortCard,
    Cost,
    Fingerprint,
    ModelCard,
    ProtocolCard,
    Result,
    Training,
    read_result,
    write_result,
)
from uadbench.scores import SCORES, has_scores, read_table, scans_put_aside, write_table
from uadbench.source import source_digest
from uadbench.store import (
    LARGEST_SEALED,
    PART,
    atomic_path,
    content_hash,
    file_name,
    keyed_seed,
    write_json,
    write_text,
)
from uadbench.timing import phase
from uadbench.training import REVISION as TRAINING_REVISION
from uadbench.training import Curve, train, validation_mse
from uadbench.types import UNSEEN

STATE = "training.safetensors"
PARTIAL_SCORES = "evaluation"
ANEW = "anew"
"""In the folder of a cell that was forgotten, until it has its result."""
DRAWS = "draws.json"
WORST = 5
SAVE_EVERY_S = 10.0


@dataclass(frozen=True)
class Cell:
    """One (model, options, cohort, protocol, fold, seed): the unit of training, caching and resuming.

    `options` are what the user set; the recipe of the protocol and the defaults fill in the rest. With
    `weights` nothing is trained: they are evaluated, and the result is unranked.
    """

    model: str
    material: Material
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: GivenWeights | None = None
    like: Cell | None = field(default=None, repr=False, compare=False)
    """Another cell of the same model, options and grid, whose initial state need not be found again."""

    @cached_property
    def plugin(self) -> type[Model]:
        """The model's class."""
        found: type[Model] = registry.models.get(self.model)
        return found

    @property
    def name(self) -> str:
        """What the model is called in results: its registered name, or the class of a file."""
        return self.plugin.registered_name

    @cached_property
    def all_options(self) -> dict[str, Any]:
        """Every option: the user's before the recipe's before the defaults."""
        defaults = {name: p.default for name, p in registry.options_of(self.plugin).items() if p.default is not p.empty}
        recipe = self.plugin.recipes.get(self.material.protocol.training.recipe, {})
        return defaults | dict(recipe) | registry.check_options(self.name, self.plugin, self.options)

    @cached_property
    def source(self) -> str | None:
        """The hash of the model's code, and of the models that it is made of; None where it is not known."""
        return source_digest(self.plugin, *self.plugin.parts(self.all_options))

    @cached_property
    def initial(self) -> Initial:
        """What the model begins with, apart from what it draws."""
        if self.like is not None:
            return self.like.initial
        lattice = self.material.protocol.lattice
        return initial_state(lambda: build_model(self.model, lattice, self.all_options, seed=0))

    @property
    def unranked(self) -> str | None:
        """Why the model's results are not ranked, in words; None for one whose results are."""
        if self.source is None:
            return f"the source of {self.name} is unknown; put it into a file"
        if self.initial.digest is None:
            return f"what {self.name} begins with cannot be read"
        if self.initial.undeclared:
            return (
                f"{self.name} arrives with weights that seem to be learnt, and are not declared: {self.initial.named}"
            )
        return None

    @cached_property
    def _origin(self) -> list[str]:
        """What is known of code and initial state; if that is not all, it equals no other."""
        known = [self.source, self.initial.digest]
        return [part or uuid.uuid4().hex for part in known]

    @cached_property
    def fit_key(self) -> str:
        """What the weights depend on; equal keys need no second training."""
        material, origin = self.material, self._origin
        recipe = material.protocol.model_dump(mode="json", include={"grid", "intensity", "training"})
        return content_hash(
            self.name,
            self.all_options,
            origin,
            recipe,
            TRAINING_REVISION,
            [material.cohort.name, material.cohort.version],
            material.content(TRAINING),
            self.seed,
            *([] if self.weights is None else [self.weights.digest]),
        )

    @cached_property
    def eval_key(self) -> str:
        """What a result depends on: the weights, the test sets, how they are scored, what is known of the people."""
        material = self.material
        how = material.protocol.model_dump(mode="json", include={"standard_map", "ranking", "detection"})
        revisions = [REVISIONS, analysis.REVISION]
        return content_hash(
            self.fit_key, material.testset_recipe, material.content(TESTING), how, revisions, material.told
        )

    def folder(self, output: Path) -> Path:
        """The run folder of this cell under `output`."""
        protocol, tested_on = self.material.protocol, self.material.test_cohort
        cohort = file_name(self.material.cohort.name)
        if tested_on is not self.material.cohort:
            cohort += f"--{file_name(tested_on.name)}"
        # a changed protocol keeps its results apart from those of the one it was made from
        label = protocol.name if is_shipped(protocol) else f"{protocol.name}-{protocol.hash[:8]}"
        return output / cohort / label / self.name / f"fold{self.material.fold}-seed{self.seed}-{self.fit_key[:8]}"

    def state(self, output: Path) -> str:
        """`done`, `failed`, `trained` (to be evaluated), `begun`, or `to do`."""
        folder = self.folder(output)
        if self.outcome(output) is not None:
            return "done"
        if failures.recorded(folder) is not None:
            return "failed"
        if has_model(folder, self.fit_key):
            return "trained"
        return "begun" if (folder / STATE).exists() else "to do"

    def outcome(self, output: Path) -> Outcome | None:
        """What lies under `output` already, if this cell is done."""
        folder = self.folder(output)
        known = finished(folder, self.eval_key)
        return None if known is None else Outcome(known, folder, reused=True)

    def fitted(self, folder: Path, device: torch.device, progress: Progress) -> tuple[Model, Curve]:
        """The model, ready to be evaluated, and how it was trained."""
        return _fitted(self, folder, device, progress)

    def amended(self, result: Result) -> Result:
        """The result with what the harness cannot know of this cell; one of another kind overrides it."""
        return result


@dataclass(frozen=True)
class Outcome:
    """A cell's result and where it lies; `reused` if it was there already."""

    result: Result
    folder: Path
    reused: bool


def run_cell(cell: Cell, output: Path, device: torch.device, progress: Progress, fresh: bool = False) -> Outcome:
    """Bring a cell to its result.

    What is finished is reused: a result with the same eval_key, else weights with the same fit_key.
    What was begun is continued. `fresh` forgets all of this cell before.

    Raises Claimed if another process works on the cell.
    """
    folder = cell.folder(output)
    if not fresh and (known := cell.outcome(output)) is not None:
        return known
    with claim(folder):
        if fresh:
            _forget(folder)
        elif (known := cell.outcome(output)) is not None:  # by now: another process had it
            return known
        return _brought_to_its_result(cell, folder, output, device, progress)


def forget(cell: Cell, output: Path) -> None:
    """Remove all that a cell has: it is to be trained anew, and takes no weights from elsewhere either.

    Raises Claimed if another process works on the cell.
    """
    folder = cell.folder(output)
    with claim(folder):
        _forget(folder)


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_text(folder / ANEW, "")


def _brought_to_its_result(cell: Cell, folder: Path, output: Path, device: torch.device, progress: Progress) -> Outcome:
    failures.forget(folder)
    _sweep(folder)
    if cell.unranked is not None:
        progress.warning(f"unranked: {cell.unranked}")
    with phase("training, the rest"):
        _take_weights(cell, output)
        model, curve = cell.fitted(folder, device, progress)
    with phase("measures"):
        evaluator = Evaluator(model, cell.material.cases, _validation(cell, device), device)
        started, computed = time.monotonic(), time.process_time()
        table = _evaluated(cell, evaluator, folder, progress)
        cpu_seconds = curve.cpu_seconds + time.process_time() - computed
    with phase("statistics"):
        _save_draws(evaluator, folder)
        store_protocol(cell.material.protocol, folder)
        _write_people(cell.material, folder)
        write_examples(_examples(cell, evaluator, table), folder / EXAMPLES)
        result = cell.amended(_result(cell, evaluator, curve, table, time.monotonic() - started, cpu_seconds))
        write_table(table, folder / SCORES)
        write_result(result, folder)
    shutil.rmtree(folder / PARTIAL_SCORES, ignore_errors=True)
    (folder / ANEW).unlink(missing_ok=True)
    return Outcome(result, folder, reused=False)


def _take_weights(cell: Cell, output: Path) -> None:
    """Weights that were trained for another test cohort, or under another protocol's name, need no second training."""
    folder = cell.folder(output)
    if has_model(folder, cell.fit_key) or (folder / STATE).exists() or (folder / ANEW).exists():
        return
    for other in sorted(output.glob(f"*/*/{cell.name}/{folder.name}")):
        if has_model(other, cell.fit_key) and (other / CURVE).is_file():
            with atomic_path(folder / CURVE) as partial:
                shutil.copyfile(other / CURVE, partial)
            copy_model(other, folder)
            return


def _sweep(folder: Path) -> None:
    """Remove what writes that were killed have left: nobody else writes here now."""
    for leftover in list(folder.glob(f"**/{PART}*")):
        shutil.rmtree(leftover, ignore_errors=True)


def finished(folder: Path, eval_key: str) -> Result | None:
    """The result in a run folder, if it is of this evaluation, and whole with its scores."""
    try:
        result = read_result(folder)
    except InputError:
        return None
    return result if result.eval_key == eval_key and has_scores(folder, result.score_hash) else None


def _validation(cell: Cell, device: torch.device) -> Batches:
    return cell.material.batches("validation", cell.seed, device)


def _fitted(cell: Cell, folder: Path, device: torch.device, progress: Progress) -> tuple[Model, Curve]:
    """The model with its weights: loaded where they are there, else given or trained, and saved."""
    _require_unchanged(cell)
    seed = keyed_seed("weights", cell.seed)
    model = build_model(cell.model, cell.material.protocol.lattice, cell.all_options, seed).to(device)
    if has_model(folder, cell.fit_key):
        (folder / STATE).unlink(missing_ok=True)
        load_weights(model, folder / WEIGHTS)
        return model, _read_curve(folder)
    training = cell.material.batches("train", cell.seed, device)
    if cell.weights is not None:
        if prefix := load_given(model, cell.weights):
            progress.notice(f"{cell.weights.file}: the prefix '{prefix}' of its names was ignored")
        curve = Curve()
    elif model.learns_by_gradients:
        section = cell.material.protocol.training
        curve = train(
            model,
            training,
            _validation(cell, device),
            epochs=section.epochs,
            patience=section.patience,
            state_file=folder / STATE,
            progress=progress,
            precision=section.precision,
            save_every_s=SAVE_EVERY_S,
        )
    else:
        started, computed = time.monotonic(), time.process_time()
        torch.manual_seed(keyed_seed("fit", cell.seed))
        with torch.no_grad():
            model.fit(training)
        curve = Curve(seconds=time.monotonic() - started, cpu_seconds=time.process_time() - computed)
    write_json(folder / CURVE, asdict(curve))
    save_model(model, folder, name=cell.model, options=cell.all_options, fit_key=cell.fit_key)
    (folder / STATE).unlink(missing_ok=True)
    return model, curve


def _require_unchanged(cell: Cell) -> None:
    """Raises InputError if the model's code, or what it begins with, is no longer what the cell's key says."""
    now = replace(cell, like=None)
    if (now.source, now.initial) != (cell.source, cell.initial):
        raise InputError(f"{cell.model}: its code, or a file that it reads, was changed while this ran; run again")


def _read_curve(folder: Path) -> Curve:
    return Curve(**read_json(folder / CURVE, LARGEST_SEALED))


def _evaluated(cell: Cell, evaluator: Evaluator, folder: Path, progress: Progress) -> pd.DataFrame:
    """One row a case; rows are put aside every few seconds so that a killed evaluation continues.

    What is on disk is not held in memory: small tables between large volumes would keep the heap from being used again.
    """
    parts = folder / PARTIAL_SCORES / f"{cell.eval_key[:16]}-{evaluator.device.type}"
    done = scans_put_aside(parts)
    fresh: list[pd.DataFrame] = []
    saved_at = time.monotonic()
    patients = cell.material.scans("patients")
    with progress.task(f"evaluating {cell.name}", len(evaluator.cases.scans) + len(patients)) as task:
        if done:
            progress.notice(f"{cell.name}: evaluation continues after {done} scans")
            task.advance(done)
        for rows in score_scans(evaluator, patients, skip=done):
            fresh.append(rows)
            task.advance(1)
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                write_table(pd.concat(fresh, ignore_index=True), parts / f"{done:06d}.parquet")
                done += len(fresh)
                fresh, saved_at = [], time.monotonic()
    stored = [read_table(file) for file in sorted(parts.glob("*.parquet"))]
    return pd.concat([*stored, *fresh, evaluator.validation_rows()], ignore_index=True)


def _save_draws(evaluator: Evaluator, folder: Path) -> None:
    """What was drawn for every test scan, so that its cases can be made again from what the result stores."""
    cases = evaluator.cases
    keys = ({"participant_id": scan.participant, "session_id": scan.session} for scan in cases.scans)
    write_json(folder / DRAWS, [who | cases.draws(s).to_json() for who, s in zip(keys, cases.scans, strict=True)])


def _write_people(material: Material, folder: Path) -> None:
    """Who is in which part; of a private cohort that only its owner may read it, for it tells whom results mean."""
    with atomic_path(folder / PEOPLE) as partial:
        partial.touch(mode=0o666 if material.public else 0o600)
        partial.write_text(json.dumps(material.people(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _examples(cell: Cell, evaluator: Evaluator, table: pd.DataFrame) -> Examples:
    """One simulated case with its healthy scan, one patient, and the worst cases.

    The case is of the first test scan and the first dementia; a worst case is one of the lowest average precision
    (standard map), no two of a participant. All at the severity nearest to 30 %.
    """
    cases, section = evaluator.cases, evaluator.protocol.testsets
    severity = min(section.severities, key=lambda s: abs(s - 0.3))
    graded = table[(table["severity"] == severity) & (table["anomaly"].isin([*section.anomalies, UNSEEN]))]
    worst = graded.sort_values("ap.standard", kind="stable").drop_duplicates("participant_id").head(WORST)
    wanted = {"case": (cases.scans[0].participant, section.anomalies[0], "")}
    for place, (participant, anomaly, precision) in enumerate(
        zip(worst["participant_id"], worst["anomaly"], worst["ap.standard"], strict=True)
    ):
        wanted[f"worst{place}"] = (participant, anomaly, f", AP {precision:.2f}")
    scans = {scan.participant: scan for scan in cases.scans}
    volumes, titles = {}, {}
    for label, (participant, anomaly, note) in wanted.items():
        made = cases.cases(scans[participant])
        case = next(c for c in made if (c.anomaly, c.severity) == (anomaly, severity))
        volumes[label], titles[label] = evaluator.look(case), f"{anomaly}, severity {severity:.0%}{note}"
    for scan in cell.material.scans("patients")[:1]:
        volumes["patient"], titles["patient"] = evaluator.look_at(scan), f"patient ({scan.group})"
    return Examples(volumes, titles, evaluator.protocol.lattice.affine, cases.brain)


def _result(
    cell: Cell, evaluator: Evaluator, curve: Curve, table: pd.DataFrame, evaluation_s: float, cpu_s: float
) -> Result:
    material, protocol = cell.material, cell.material.protocol
    return Result(
        model=ModelCard(
            name=cell.name,
            options=cell.all_options,
            reconstructs=evaluator.model.reconstructs,
            reference=cell.plugin.reference,
            weights=None if cell.weights is None else cell.weights.digest,
            unranked=cell.unranked,
        ),
        cohort=CohortCard(
            name=material.cohort.name,
            version=material.cohort.version,
            public=material.public,
            tested_on=None if material.test_cohort is material.cohort else material.test_cohort.name,
            tested_version=None if material.test_cohort is material.cohort else material.test_cohort.version,
            healthy=list(material.roles.healthy),
            ill=list(material.roles.patients),
            split=material.split_digest,
            origin=material.origin,
            shared_images=material.shared_images,
            **{part: len(rows) for part, rows in material.rows.items()},
        ),
        protocol=ProtocolCard(
            name=protocol.name,
            version=protocol.version,
            hash=protocol.hash,
            intensity=protocol.intensity.kind,
            ranked=is_shipped(protocol) and cell.weights is None and cell.unranked is None,
        ),
        fold=material.fold,
        seed=cell.seed,
        fit_key=cell.fit_key,
        eval_key=cell.eval_key,
        testset=Fingerprint(recipe=material.testset_recipe, sketch=material.cases.sketch),
        **analysis.aggregates(
            table, protocol, validation_mse(evaluator.model, evaluator.validation), evaluator.thresholds
        ),
        training=_training(curve),
        cost=Cost(
            train_seconds=None if cell.weights else round(curve.seconds, 2),
            inference_seconds_per_scan=evaluator.watch.per_scan and float(f"{evaluator.watch.per_scan:.3g}"),
            evaluation_seconds=round(evaluation_s, 2),
            cpu_minutes=round(cpu_s / 60, 2) if evaluator.device.type == "cpu" and not cell.weights else None,
            budget_minutes=protocol.cells.cpu_minutes,
            peak_memory_mib=peak_memory_mib(evaluator.device),
            parameters=parameter_count(evaluator.model),
        ),
        provenance=provenance(cell.source, evaluator.device, {**REVISIONS, "analysis": analysis.REVISION}),
    )


def _training(curve: Curve) -> Training | None:
    if not curve.losses:
        return None
    losses = [{name: float(f"{value:.6g}") for name, value in epoch.items()} for epoch in curve.losses]
    errors = [None if value is None else float(f"{value:.6g}") for value in curve.validation_mse]
    return Training(
        epochs=len(losses), best_epoch=curve.best_epoch, losses=losses, validation_mse=errors, precision=curve.precision
    )
