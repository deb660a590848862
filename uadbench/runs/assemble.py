"""Assembly of a run's result from its parts: run metadata, scores and cost."""

from __future__ import annotations

import pandas as pd

from uadbench.evaluation.evaluator import REVISIONS, Evaluator
from uadbench.models.checkpoint import parameter_count
from uadbench.protocols.schema import is_shipped
from uadbench.results import aggregate
from uadbench.results.schema import CohortCard, Cost, Fingerprint, ModelCard, ProtocolCard, Result, Training
from uadbench.runs.fold_data import FoldData
from uadbench.runs.keys import Run
from uadbench.runs.provenance import peak_memory_mib, provenance
from uadbench.training.loop import Curve, validation_mse


def assembled_result(run: Run, evaluator: Evaluator, curve: Curve, table: pd.DataFrame, cost: Cost) -> Result:
    """Assemble the result of a run.

    Args:
        run: The run.
        evaluator: Its trained and calibrated model, with the test sets.
        curve: The training curve.
        table: One row per case, from `evaluate.case_scores`.
        cost: The cost of the run, from `cost_of`.
    """
    fold_data, protocol = run.fold_data, run.fold_data.protocol
    error = validation_mse(evaluator.model, evaluator.validation)
    scored = aggregate.aggregates(table, protocol, error, evaluator.calibration.thresholds)
    return Result(
        model=_model_part(run, evaluator),
        cohort=_cohort_part(fold_data),
        protocol=ProtocolCard(
            name=protocol.name,
            version=protocol.version,
            hash=protocol.hash,
            intensity=protocol.intensity.kind,
            ranked=is_shipped(protocol) and run.weights is None and run.unranked is None,
        ),
        fold=fold_data.fold,
        seed=run.seed,
        fit_key=run.fit_key,
        eval_key=run.eval_key,
        testset=Fingerprint(recipe=fold_data.testset_recipe, sketch=fold_data.cases.sketch),
        headline=scored.headline,
        detection=scored.detection,
        strata=scored.strata,
        robustness=scored.robustness,
        bias=scored.bias,
        scores=scored.scores,
        score_hash=scored.score_hash,
        training=_training_part(curve),
        cost=cost,
        provenance=provenance(run.source, evaluator.device, {**REVISIONS, "analysis": aggregate.REVISION}),
    )


def cost_of(run: Run, evaluator: Evaluator, curve: Curve, evaluation_s: float, cpu_s: float) -> Cost:
    """The cost of a run on this machine.

    Args:
        run: The run.
        evaluator: Its model, with the time that inference took.
        curve: The training curve, with the time that training took.
        evaluation_s: Wall-clock seconds of evaluation.
        cpu_s: Processor seconds of training and evaluation, summed over cores.
    """
    is_trained, on_cpu = run.weights is None, evaluator.device.type == "cpu"
    per_scan = evaluator.watch.per_scan
    return Cost(
        train_seconds=round(curve.seconds, 2) if is_trained else None,
        inference_seconds_per_scan=None if per_scan is None else float(f"{per_scan:.3g}"),
        evaluation_seconds=round(evaluation_s, 2),
        cpu_minutes=round(cpu_s / 60, 2) if on_cpu and is_trained else None,
        budget_minutes=run.fold_data.protocol.runs.cpu_minutes,
        peak_memory_mib=peak_memory_mib(evaluator.device),
        parameters=parameter_count(evaluator.model),
    )


def _model_part(run: Run, evaluator: Evaluator) -> ModelCard:
    return ModelCard(
        name=run.name,
        options=run.all_options,
        reconstructs=evaluator.model.reconstructs,
        reference=run.plugin.reference,
        weights=None if run.weights is None else run.weights.digest,
        unranked=run.unranked,
    )


def _cohort_part(fold_data: FoldData) -> CohortCard:
    elsewhere = None if fold_data.test_cohort is fold_data.cohort else fold_data.test_cohort
    return CohortCard(
        name=fold_data.cohort.name,
        version=fold_data.cohort.version,
        public=fold_data.public,
        tested_on=None if elsewhere is None else elsewhere.name,
        tested_version=None if elsewhere is None else elsewhere.version,
        healthy=list(fold_data.roles.healthy),
        ill=list(fold_data.roles.patients),
        split=fold_data.split_digest,
        origin=fold_data.origin,
        train=len(fold_data.rows["train"]),
        validation=len(fold_data.rows["validation"]),
        test=len(fold_data.rows["test"]),
        patients=len(fold_data.rows["patients"]),
        audit=len(fold_data.rows["audit"]),
        shared_images=fold_data.shared_images,
    )


def _training_part(curve: Curve) -> Training | None:
    if not curve.losses:
        return None
    losses = [{name: float(f"{value:.6g}") for name, value in epoch.items()} for epoch in curve.losses]
    errors = [None if value is None else float(f"{value:.6g}") for value in curve.validation_mse]
    return Training(
        epochs=len(losses), best_epoch=curve.best_epoch, losses=losses, validation_mse=errors, precision=curve.precision
    )
