"""The public functions, as a notebook calls them."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import uadbench as ub
from uadbench.runtime.progress import Silent
from uadbench.simulation.files import simulate as simulate_files

QUIET = {"protocol": "smoke", "progress": False}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(output: Path) -> ub.CompletedRun:
    return ub.run("zscore", output=output, **QUIET)


@pytest.fixture(scope="module")
def runs(output: Path, run: ub.CompletedRun) -> ub.Runs:
    return ub.run(["zscore", "pca_recon"], output=output, seeds=[0, 1], **QUIET)


def test_models_and_columns_are_listed() -> None:
    models = ub.list_models()
    assert models.loc["vae3d", "summary"] and models.loc["dae3d", "extra"] == "networks"
    columns = ub.columns()
    assert list(ub.columns("ap.standard").index) == ["ap.standard"] and not ub.columns(["participant_id"]).size
    with pytest.raises(ub.InputError, match=r"ap\.mean"):
        ub.columns("ap.mean")
    assert columns.loc["headline.ap_standard", "better"] == "higher" and columns["meaning"].all()


@pytest.mark.slow
def test_one_model_gives_one_run(run: ub.CompletedRun, output: Path) -> None:
    assert run.result.model.name == "zscore" and run.folder.is_relative_to(output)
    assert len(run.scores) and set(run.scores["anomaly"]) >= {"ad", "unseen", "healthy"}
    assert f"{run.result.headline.ap_standard:.3f}"[1:] in str(run)


@pytest.mark.slow
def test_several_give_a_sequence_and_reuse_what_is_done(runs: ub.Runs, run: ub.CompletedRun) -> None:
    assert len(runs) == 4 and runs[0].folder == run.folder and not runs.failures
    assert isinstance(runs[1:], ub.Runs) and len(runs[1:]) == 3
    frame = runs.to_frame()
    assert list(frame["model"]) == ["zscore", "zscore", "pca_recon", "pca_recon"] and frame["ranking_ap"].gt(0.3).all()
    scores = run.scores.set_index("anomaly")["subject.score"]
    patients, healthy = scores["patients"].to_numpy(), scores["healthy"].to_numpy()
    wins = (patients[:, None] > healthy).mean() + (patients[:, None] == healthy).mean() / 2
    assert frame.loc[0, "auroc_patients"] == pytest.approx(wins, abs=1e-5)


def test_a_run_is_read_from_its_folder(run: ub.CompletedRun) -> None:
    again = ub.read(run.folder)
    assert again == run and again.scores.equals(run.scores)
    model = again.model()
    assert isinstance(model, ub.Model) and not model.training
    with pytest.raises(ub.InputError, match=r"uadbench\.run"):
        again.plot.case("sub-P0001", "ad", 0.3)


@pytest.mark.slow
def test_figures_and_report(run: ub.CompletedRun, tmp_path: Path) -> None:
    participant = run.scores["participant_id"].iloc[0]
    assert run.plot.severity().axes and run.plot.example().axes
    assert participant in run.plot.case(participant, "ad", 0.3).get_suptitle()
    with pytest.raises(ub.InputError, match=r"ad 0\.3"):
        run.plot.case(participant, "ad", 0.31)
    page = run.report(tmp_path / "report.html")
    assert page == tmp_path / "report.html" and "zscore" in page.read_text() and list(tmp_path.iterdir()) == [page]
    assert (run.report(tmp_path / "folder").parent / "figures").is_dir()


def test_models_are_compared(runs: ub.Runs) -> None:
    comparisons = ub.compare(runs)
    frame = comparisons.to_frame()
    assert frame.loc[0, "measure"] == "ranking AP" and frame.loc[0, "first"] == "zscore"
    means = runs.to_frame().groupby("model")["ranking_ap"].mean()
    assert frame.loc[0, "difference"] == pytest.approx(means["zscore"] - means["pca_recon"], abs=1e-4)
    assert "pca_recon" in repr(comparisons)
    with pytest.raises(ub.InputError, match="one model"):
        ub.compare(runs[:2])


# --- simulate


@pytest.fixture(scope="module")
def image() -> nibabel.Nifti1Image:
    """A scan of ones in LAS at 4 mm that fills the MNI brain."""
    affine = np.array([[-4.0, 0, 0, 80], [0, 4, 0, -112], [0, 0, 4, -70], [0, 0, 0, 1]])
    data = np.random.default_rng(0).uniform(0.8, 1.2, (40, 48, 40)).astype(np.float32)
    return nibabel.Nifti1Image(data, affine)


def test_simulating_in_memory_equals_the_command(image: nibabel.Nifti1Image, tmp_path: Path) -> None:
    nibabel.save(image, tmp_path / "scan.nii.gz")
    table = simulate_files(tmp_path / "scan.nii.gz", ["ad"], [0.3], tmp_path / "out", Silent())
    for given in (image, tmp_path / "scan.nii.gz", (image.get_fdata(), image.affine)):
        made = ub.simulate(given, "ad", 0.3)
        for name, ours in (("altered", made.image), ("mask", made.mask), ("reduction", made.reduction)):
            theirs = nibabel.load(tmp_path / "out" / table.loc[0, name])
            np.testing.assert_array_equal(ours.get_fdata(), theirs.get_fdata())
            np.testing.assert_allclose(ours.affine, theirs.affine)
        assert made.effective_reduction == pytest.approx(table.loc[0, "effective_reduction"])


@pytest.mark.parametrize(
    ("given", "anomaly", "severity", "named"),
    [
        ("image", "adx", 0.3, "ad"),
        ("image", "ad", 1.3, "1.3"),
        ("list", "ad", 0.3, "list"),
        ("flat", "ad", 0.3, "(40, 48)"),
        ("nan", "ad", 0.3, "NaN"),
        ("elsewhere", "ad", 0.3, "'ad'"),
        ("missing.nii.gz", "ad", 0.3, "missing.nii.gz"),
    ],
)
def test_what_cannot_be_simulated_is_refused(given, anomaly, severity, named, image) -> None:
    affine, data = image.affine, image.get_fdata()
    far = affine + np.array([[0, 0, 0, 900]] * 3 + [[0] * 4])
    images = {
        "image": image,
        "list": [1, 2],
        "flat": (data[..., 0], affine),
        "nan": (np.where(data > 1.1, np.nan, data), affine),
        "elsewhere": (data, far),
    }
    with pytest.raises(ub.InputError) as refused:
        ub.simulate(images.get(given, given), anomaly, severity)
    assert named in str(refused.value)


# --- data sets


def test_the_training_scans_are_those_of_a_run(run: ub.CompletedRun) -> None:
    train = ub.train_dataset("smoke", progress=False)
    batch = next(iter(run._run.fold_data.batches("train", 0, torch.device("cpu"))))  # type: ignore[union-attr]
    assert len(train) == 24 and torch.equal(train[0], batch.images[0])
    validation = ub.train_dataset("smoke", part="validation", progress=False)
    assert not {scan.participant for scan in train.scans} & {scan.participant for scan in validation.scans}


def test_the_cases_are_those_of_a_run(run: ub.CompletedRun) -> None:
    tests = ub.test_dataset("smoke", progress=False)
    cases = run._run.fold_data.cases  # type: ignore[union-attr]
    every = [case for scan in cases.scans for case in cases.cases(scan)]
    assert len(tests) == len(every)
    for index in (0, 7, len(every) // 2, -1):
        item, case = tests[index], every[index]
        assert torch.equal(item["image"][0], torch.from_numpy(case.intensity.normalise(case.altered)))
        assert np.array_equal(item["truth"][0].numpy(), case.truth)
        assert (item["anomaly"], item["severity"], item["participant"]) == (
            case.anomaly,
            case.severity,
            case.scan.participant,
        )
    with pytest.raises(IndexError):
        tests[len(every)]


def test_a_data_loader_with_workers_gives_batches() -> None:
    tests = ub.test_dataset("smoke", progress=False)
    batch = next(iter(DataLoader(tests, batch_size=3, num_workers=2)))
    assert batch["image"].shape == (3, 1, 24, 32, 24) and len(batch["anomaly"]) == 3


# --- modules in memory


class Mean(nn.Module):
    """The mean training scan, whatever it is shown; returns a tuple, as variational autoencoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, 24, 32, 24))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.mean.expand_as(images), None


def fit_mean(module: Mean, train: torch.utils.data.Dataset, validation: torch.utils.data.Dataset) -> None:
    module.mean.data = torch.stack([train[index] for index in range(len(train))]).mean(0)
    assert len(validation) == 12


@pytest.mark.slow
def test_a_module_scores_like_the_model_that_it_is(output: Path) -> None:
    registered = ub.run("mean", output=output, **QUIET)
    run = ub.evaluate(Mean(), fit=fit_mean, **QUIET)
    assert run.result.headline.ap_standard == pytest.approx(registered.result.headline.ap_standard, abs=1e-5)
    assert run.result.model.name == "Mean" and not run.result.protocol.ranked and run.result.model.unranked
    assert len(run.scores) == len(registered.scores)


def test_a_function_that_gives_a_map(output: Path) -> None:
    registered = ub.run("zscore", output=output, **QUIET)
    run = ub.evaluate(lambda images: {"map": -images}, kind="map", name="dark", output=output, **QUIET)
    assert run.folder.is_relative_to(output) and not run.result.model.reconstructs
    assert run.result.headline.ap_standard == pytest.approx(registered.result.headline.ap_standard, abs=0.02)


@pytest.mark.parametrize(
    ("module", "options", "named"),
    [
        (lambda images: images.mean(0, keepdim=True).expand_as(images), {}, "batch"),
        (lambda images: {"other": images}, {}, "reconstruction"),
        (lambda images: "no tensor", {}, "str"),
        (Mean, {}, "uadbench.run"),
        (3, {}, "3"),
        (lambda images: images, {"kind": "maps"}, "maps"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(module, options, named) -> None:
    with pytest.raises(ub.InputError) as refused:
        ub.evaluate(module, **options, **QUIET)
    assert named in str(refused.value)


def test_a_class_is_run_without_being_registered(output: Path) -> None:
    class Half(ub.ReconstructionModel):
        """Half of the image."""

        def reconstruct(self, batch: ub.Batch) -> torch.Tensor:
            return batch.images / 2

    run = ub.run(Half, output=output, **QUIET)
    assert run.result.model.name == "Half" and ub.run(Half, output=output, **QUIET).folder == run.folder
    assert "Half" in ub.list_models().index


# --- arguments


@pytest.mark.parametrize(
    ("model", "arguments", "named"),
    [
        ("vae3", {}, "vae3d"),
        ("zscore", {"seeds": []}, "seeds"),
        ("zscore", {"seeds": 1}, "seeds"),
        ("zscore", {"folds": [9]}, "9"),
        ("zscore", {"options": {"sd": 1.0}}, "sd_floor"),
        ("zscore", {"overrides": {"training.epoch": 3}}, "epochs"),
        ("zscore", {"device": "gpu"}, "gpu"),
        (["zscore", "mean"], {"checkpoint": __file__}, "checkpoint"),
        (Mean(), {}, "evaluate"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(model, arguments, named, tmp_path: Path) -> None:
    with pytest.raises(ub.InputError) as refused:
        ub.run(model, output=tmp_path / "out", **{**QUIET, **arguments})
    assert named in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_options_overrides_and_a_smaller_cohort(output: Path) -> None:
    cohort = ub.cohort("phantom:participants=60,patients=10", healthy=["CN"])
    assert "60" in cohort.reference and len(cohort.participants) and cohort.name in repr(cohort)
    run = ub.run(
        "pca_recon",
        cohort=cohort,
        options={"components": 2},
        overrides={"testsets.severities": [0.3, 0.5]},
        output=output,
        **QUIET,
    )
    assert run.result.model.options["components"] == 2 and run.result.cohort.version


@pytest.mark.slow
def test_messages_go_to_the_logger(output: Path, caplog: pytest.LogCaptureFixture, capsys) -> None:
    with caplog.at_level(logging.INFO, logger="uadbench"):
        ub.run("identity", output=output, **QUIET)
    assert any("fold 0" in record.message for record in caplog.records)
    assert capsys.readouterr().out == ""
