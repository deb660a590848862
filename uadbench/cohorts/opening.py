"""Opening a cohort from the value of --cohort: a name, a folder or a table, optionally with options."""

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
    """Open a cohort.

    An existing file or folder takes precedence over a plugin of the same name that requires a path.

    Args:
        reference: A registered name ("phantom"), a name with options ("phantom:seed=7,participants=50"), the folder of
            a CAPS tree, a .tsv or .csv table of scans, or either with options ("/data/caps:contains=rec-coregiso",
            "scans.csv:image=file,diagnosis=DX").

    Returns:
        The cohort.

    Raises:
        InputError: For an unknown name or option, a folder that is not a CAPS tree, or another kind of file.
    """
    names = registry.cohorts.names()
    whole = Path(reference).expanduser()
    name, options = (reference, {}) if reference in names or whole.exists() else _split(reference)
    path = Path(name).expanduser()
    if _is_path(name, path, names, options):
        is_table = path.suffix.lower() in TABLES
        if not path.exists() and not _looks_like_path(name):
            hint = registry.did_you_mean(name, names)
            raise InputError(f"no cohort is called '{name}', and there is no such file or folder; {hint}")
        if path.is_file() and not is_table:
            raise InputError(f"{name}: not a table of scans that can be read; {FORMS}")
        name, options = "table" if is_table else "caps", {"path": str(path), **options}
    plugin = registry.cohorts.get(name)
    label = f"cohort {name}"
    checked = registry.check_options(label, plugin, options)
    for option, parameter in registry.options_of(plugin).items():
        if (
            parameter.default is Parameter.empty
            and parameter.kind != Parameter.VAR_POSITIONAL
            and option not in checked
        ):
            advice = FORMS if option == "path" else f"{name}:{option}=..."
            raise InputError(f"{label} needs '{option}'; {advice}")
    return cast(Cohort, plugin(**checked))


def open_and_warn(reference: str, progress: Progress) -> Cohort:
    """Open a cohort, and show one warning for each kind of problem in its tables.

    Args:
        reference: As in `open_cohort`.
        progress: The display of warnings.

    Returns:
        The cohort.

    Raises:
        InputError: As in `open_cohort`.
    """
    with collecting(fatal=False) as findings:
        cohort = open_cohort(reference)
    for line in in_lines(findings):
        progress.warning(line)
    return cohort


def _is_path(name: str, path: Path, names: list[str], options: dict[str, str]) -> bool:
    """Whether a name refers to a file or folder; an existing one takes precedence over a plugin that needs a path."""
    if name not in names:
        return ".py:" not in name and not name.endswith(".py")
    needs_path = "path" in registry.options_of(registry.cohorts.get(name))
    return needs_path and "path" not in options and path.exists()


def _split(reference: str) -> tuple[str, dict[str, str]]:
    """Split `name:key=value,key=value`. Raises InputError for a part that is not key=value."""
    name, colon, text = reference.rpartition(":")
    if not colon or "=" not in text.split("/")[0]:
        if colon and name in registry.cohorts.names():
            raise InputError(f"{reference}: the colon must be followed by options, as in {name}:seed=7")
        return reference, {}
    options: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InputError(f"{reference}: '{part}' is not an option; write {name}:key=value,key=value")
        options[key.strip()] = value.strip()
    return name, options


def _looks_like_path(name: str) -> bool:
    return name.lower().endswith(TABLES) or "/" in name or "\\" in name or name.startswith((".", "~"))
