"""The result of a run, put together from its typed parts."""

from __future__ import annotations

import pandas as pd

from uadbench.evaluation.evaluator import REVISIONS, Evaluator
from uadbench.models.checkpoint import parameter_count
from uadbench.protocols.schema import is_shipped
from uadbench.results import aggregate
from uadbench.results.schema import CohortCard, Cost, Fingerprint, ModelCard, ProtocolCard, Result, Training
from uadbench.runs.fold_data import Material
from uadbench.runs.keys import Cell
from uadbench.runs.provenance import peak_memory_mib, provenance
from uadbench.training.loop import Curve, validation_mse


def assembled_result(cell: Cell, evaluator: Evaluator, curve: Curve, table: pd.DataFrame, cost: Cost) -> Result:
    """The result of a run.

    Args:
        cell: The run.
        evaluator: Its trained model, calibrated.
        curve: How the model was trained.
        table: One row a case, as `evaluate.case_scores` gives it.
        cost: What all of it cost, see `cost_of`.
    """
    material, protocol = cell.material, cell.material.protocol
    error = validation_mse(evaluator.model, evaluator.validation)
    scored = aggregate.aggregates(table, protocol, error, evaluator.calibration.thresholds)
    return Result(
        model=_model_part(cell, evaluator),
        cohort=_cohort_part(material),
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
        headline=scored.headline,
        detection=scored.detection,
        strata=scored.strata,
        scores=scored.scores,
        score_hash=scored.score_hash,
        training=_training_part(curve),
        cost=cost,
        provenance=provenance(cell.source, evaluator.device, {**REVISIONS, "analysis": aggregate.REVISION}),
    )


def cost_of(cell: Cell, evaluator: Evaluator, curve: Curve, evaluation_s: float, cpu_s: float) -> Cost:
    """The cost of a run on this machine.

    Args:
        cell: The run.
        evaluator: Its model, with the time that inference took.
        curve: The training, with the time that it took.
        evaluation_s: Seconds of evaluation.
        cpu_s: Processor seconds of training and evaluation, all cores together.
    """
    given, on_cpu = cell.weights is not None, evaluator.device.type == "cpu"
    per_scan = evaluator.watch.per_scan
    return Cost(
        train_seconds=None if given else round(curve.seconds, 2),
        inference_seconds_per_scan=None if per_scan is None else float(f"{per_scan:.3g}"),
        evaluation_seconds=round(evaluation_s, 2),
        cpu_minutes=round(cpu_s / 60, 2) if on_cpu and not given else None,
        budget_minutes=cell.material.protocol.cells.cpu_minutes,
        peak_memory_mib=peak_memory_mib(evaluator.device),
        parameters=parameter_count(evaluator.model),
    )


def _model_part(cell: Cell, evaluator: Evaluator) -> ModelCard:
    return ModelCard(
        name=cell.name,
        options=cell.all_options,
        reconstructs=evaluator.model.reconstructs,
        reference=cell.plugin.reference,
        weights=None if cell.weights is None else cell.weights.digest,
        unranked=cell.unranked,
    )


def _cohort_part(material: Material) -> CohortCard:
    elsewhere = None if material.test_cohort is material.cohort else material.test_cohort
    return CohortCard(
        name=material.cohort.name,
        version=material.cohort.version,
        public=material.public,
        tested_on=None if elsewhere is None else elsewhere.name,
        tested_version=None if elsewhere is None else elsewhere.version,
        healthy=list(material.roles.healthy),
        ill=list(material.roles.patients),
        split=material.split_digest,
        origin=material.origin,
        train=len(material.rows["train"]),
        validation=len(material.rows["validation"]),
        test=len(material.rows["test"]),
        patients=len(material.rows["patients"]),
        shared_images=material.shared_images,
    )


def _training_part(curve: Curve) -> Training | None:
    if not curve.losses:
        return None
    losses = [{name: float(f"{value:.6g}") for name, value in epoch.items()} for epoch in curve.losses]
    errors = [None if value is None else float(f"{value:.6g}") for value in curve.validation_mse]
    return Training(
        epochs=len(losses), best_epoch=curve.best_epoch, losses=losses, validation_mse=errors, precision=curve.precision
    )
