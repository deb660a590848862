"""`uadbench new model`: a working model file and its test, as a starting point for your own model."""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError
from uadbench.runtime.commands import command, spelled

app = typer.Typer(help="Create files for your own model.", no_args_is_help=True)

TEMPLATES = Path(__file__).parent / "templates"
KINDS = ("reconstruction", "map")


@app.callback()
def new() -> None:
    """Create files for your own model."""


@app.command("model")
def model(
    name: Annotated[
        str, typer.Argument(help="Name of the model: lower-case letters, digits and _, for example my_net.")
    ],
    folder: Annotated[Path, typer.Option(help="Folder for NAME.py and test_NAME.py.")] = Path(),
    kind: Annotated[
        str,
        typer.Option(
            help="'reconstruction' for a model that reconstructs healthy scans, 'map' for one that gives anomaly maps "
            "only."
        ),
    ] = "reconstruction",
) -> None:
    """Write a small working model (NAME.py) and its contract test (test_NAME.py)."""
    from uadbench.registry import did_you_mean
    from uadbench.runtime.files import require_writable, write_text

    if kind not in KINDS:
        raise InputError(f"--kind {kind}: unknown kind; {did_you_mean(kind, list(KINDS))}")
    _require_free(name)
    files = {folder / f"{name}.py": f"{kind}.py.jinja", folder / f"test_{name}.py": "test.py.jinja"}
    class_name = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    words = name.replace("_", " ").capitalize()
    texts = {file: _filled(template, name=name, class_name=class_name, words=words) for file, template in files.items()}
    for file, text in texts.items():
        if file.exists() and not _has_text(file, text):  # an equal file comes from an interrupted call
            raise InputError(f"{file}: the file exists and is not overwritten; choose another name or --folder")
    require_writable(folder)
    for file, text in texts.items():
        write_text(file, text)
        print(file)
    reference = f"{spelled(folder / f'{name}.py')}:{class_name}"
    print(f"next: {command('uadbench', 'test-model', reference)}")
    print(f"      {command('uadbench', 'run', model=reference, protocol='smoke')}")


def _has_text(file: Path, text: str) -> bool:
    """Whether a file contains exactly this text."""
    try:
        return file.read_bytes() == text.encode()
    except OSError:
        return False


def _require_free(name: str) -> None:
    """Raises InputError for an invalid module name, or the name of an existing module or model."""
    from uadbench import registry

    suggestion = "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_0123456789") or "my_net"
    if not (name.isascii() and name.isidentifier() and name == name.lower()) or name.startswith("_"):
        raise InputError(f"'{name}' is not a lower-case Python module name; did you mean '{suggestion}'?")
    if keyword.iskeyword(name):
        raise InputError(f"'{name}' is a Python keyword; did you mean '{name}_net'?")
    if name in registry.models.names():
        source = registry.models.origins()[name].source
        raise InputError(f"model '{name}' exists ({source}); did you mean 'my_{name}'?")
    if importlib.util.find_spec(name) is not None:
        raise InputError(f"'{name}' is an existing module that your file would hide; did you mean 'my_{name}'?")


def _filled(template: str, **values: str) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.get_template(template).render(**values)
