"""The numbers of the reproduced paper, and the differences between a result and the paper's experiment.

Hassanaly, Bottani, Sauty, Colliot, Burgos 2023, SPIE Medical Imaging; a 3D VAE on ADNI, first fold.
"""

from __future__ import annotations

from typing import Final

from uadbench.errors import InputError
from uadbench.protocols.schema import Protocol, load_protocol
from uadbench.results.schema import PaperTest, Result

METRICS: Final = ("mse", "mae", "psnr", "ssim")

TABLE_1: Final = {
    "ad": (0.00356, 0.0414, 24.6, 0.729),
    "bvftd": (0.00313, 0.0388, 25.2, 0.741),
    "lvppa": (0.00320, 0.0392, 25.1, 0.739),
    "svppa": (0.00293, 0.0375, 25.5, 0.749),
    "nfvppa": (0.00319, 0.0388, 25.2, 0.744),
    "pca": (0.00306, 0.0381, 25.4, 0.749),
}
"""METRICS of (x̂', x) at severity 30 %."""

TABLE_2: Final = {"patients": (0.00408, 0.0433, 24.5, 0.709), "healthy": (0.00292, 0.0373, 25.6, 0.749)}
"""METRICS of (x̂, x) on real scans."""

CONSISTENCY: Final = {"ad": 0.993}
"""SSIM(x̂', x̂) at severity 30 %; the paper says that it is above 0.99 on average over all dementias."""

FIRST_SIGNIFICANT: Final = 0.25
"""The lowest severity of Figure 1 with p < 0.05 / 9."""


def is_significant(test: PaperTest, p: float | None, severities: int) -> bool:
    """Whether the error increases significantly: p below 0.05, Bonferroni-adjusted for the number of severities."""
    return p is not None and p < 0.05 / severities and test.ratio > 1


def protocol_of(result: Result) -> Protocol | None:
    """The protocol of a result, if this version of uadbench contains it unchanged; otherwise None."""
    try:
        protocol = load_protocol(result.protocol.name)
    except InputError:
        return None
    return protocol if protocol.hash == result.protocol.hash else None


def differences(result: Result) -> list[str]:
    """Differences between a result and the paper's experiment, as far as they are known."""
    found = []
    if result.fold:
        found.append(f"fold {result.fold} instead of the first")
    if result.cohort.test != 30:
        found.append(f"{result.cohort.test} healthy test participants instead of 30")
    if result.cohort.name.startswith("phantom"):
        found.append("phantom scans instead of ADNI")
    else:
        found.append(f"cohort {result.cohort.name}, which may not be the paper's selection from ADNI")
    found.append("dementia masks from our own reading of the literature (the paper does not list its regions)")
    protocol = protocol_of(result)
    found += ["a protocol that is not part of this version of uadbench"] if protocol is None else _of(protocol)
    if result.training is not None and result.training.precision != "float32":
        found.append("training in mixed precision (bfloat16)")
    if result.model.name != "vae3d":
        found.append(f"the model {result.model.name} instead of the paper's VAE")
    else:
        found.append("reconstructions from the mean of the posterior instead of a sample")
        if protocol is None or protocol.training.recipe != "paper":
            options = ", ".join(f"{name} = {value}" for name, value in result.model.options.items())
            found.append(f"another width and recipe of the VAE ({options})")
    return found


def _of(protocol: Protocol) -> list[str]:
    found = []
    if protocol.grid.shape != (80, 96, 80):
        found.append(f"a grid of {protocol.lattice} instead of 80 x 96 x 80 at 2 mm")
    if protocol.intensity.kind != "minmax":
        found.append(
            f"intensities divided by SUVR {protocol.intensity.scale:g} instead of scaled to each scan's minimum "
            "and maximum, so that errors have a different unit"
        )
    if protocol.training.epochs != 300:
        found.append(f"{protocol.training.epochs} epochs instead of 300")
    return found
