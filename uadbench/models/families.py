"""The families of models, in the order in which they are listed."""

from __future__ import annotations

FAMILIES = (
    "baseline",
    "linear",
    "autoencoder",
    "variational autoencoder",
    "adversarial",
    "diffusion",
    "feature-based",
    "ensemble",
)
"""The families of the built-in models."""

OTHER = "other"
"""The family of a model that states none."""


def family_order(family: str) -> tuple[int, str]:
    """The sort key of a family.

    Args:
        family: A family of `FAMILIES`, one that a third party named, or `OTHER`.

    Returns:
        The key: families of `FAMILIES` come first, `OTHER` comes last.
    """
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES) + (family == OTHER)), family
