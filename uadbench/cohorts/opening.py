"""From what a user writes after --cohort to a cohort: a name, a folder or a table, each perhaps with options."""

from __future__ import annotations

from inspect import Parameter
from pathlib import Path
from typing import cast

from uadbench import registry
from uadbench.cohorts.base import Cohort
from uadbench.cohorts.findings import collecting, in_lines
from uadbench.errors import InputError
from uadbench.runtime.progress import Progress

TABLES = (".tsv", ".csv")
FORMS = "give the folder of a CAPS tree, or a table of scans with tabs (.tsv) or commas (.csv)"


def open_cohort(reference: str) -> Cohort:
    """Open the cohort that `reference` means.

    A file or folder that is there wins over a plugin of the same name that needs a path.

    Args:
        reference: A registered name ("phantom"), a name with options ("phantom:seed=7,participants=50"), the folder of
            a CAPS tree, a .tsv or .csv table of scans, or either with options ("/data/caps:contains=rec-coregiso",
            "scans.csv:image=file,diagnosis=DX").

    Raises:
        InputError: For an unknown name or option, for a folder that is no CAPS tree, and for another kind of file.
    """
    known = registry.cohorts.names()
    whole = Path(reference).expanduser()
    name, options = (reference, {}) if reference in known or whole.exists() else _split(reference)
    place = Path(name).expanduser()
    if _is_place(name, place, known, options):
        is_table = place.suffix.lower() in TABLES
        if not place.exists() and not _looks_like_path(name):
            hint = registry.did_you_mean(name, known)
            raise InputError(f"no cohort is called '{name}', and no file or folder either; {hint}")
        if place.is_file() and not is_table:
            raise InputError(f"{name}: not a table of scans that can be read; {FORMS}")
        name, options = "table" if is_table else "caps", {"path": str(place), **options}
    plugin = registry.cohorts.get(name)
    label = f"cohort {name}"
    given = registry.check_options(label, plugin, options)
    for option, parameter in registry.options_of(plugin).items():
        if parameter.default is Parameter.empty and parameter.kind != Parameter.VAR_POSITIONAL and option not in given:
            advice = FORMS if option == "path" else f"{name}:{option}=..."
            raise InputError(f"{label} needs '{option}'; {advice}")
    return cast(Cohort, plugin(**given))


def open_and_warn(reference: str, progress: Progress) -> Cohort:
    """Open a cohort as `open_cohort` does, and show a warning for each kind of doubt that its tables leave."""
    with collecting(fatal=False) as findings:
        cohort = open_cohort(reference)
    for line in in_lines(findings):
        progress.warning(line)
    return cohort


def _is_place(name: str, place: Path, known: list[str], options: dict[str, str]) -> bool:
    """Whether a name means a file or folder: one that is there wins over a plugin that would only ask for its path."""
    if name not in known:
        return ".py:" not in name and not name.endswith(".py")
    needs_path = "path" in registry.options_of(registry.cohorts.get(name))
    return needs_path and "path" not in options and place.exists()


def _split(reference: str) -> tuple[str, dict[str, str]]:
    """`name:key=value,key=value` in parts. Raises InputError for a part that is no key=value."""
    name, colon, text = reference.rpartition(":")
    if not colon or "=" not in text.split("/")[0]:
        if colon and name in registry.cohorts.names():
            raise InputError(f"{reference}: after the colon come options, as in {name}:seed=7")
        return reference, {}
    options: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InputError(f"{reference}: '{part}' is no option; write {name}:key=value,key=value")
        options[key.strip()] = value.strip()
    return name, options


def _looks_like_path(name: str) -> bool:
    return name.lower().endswith(TABLES) or "/" in name or "\\" in name or name.startswith((".", "~"))
