"""`uadbench new model`: a model file that works, with its test, ready to fill."""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path
from typing import Annotated

import typer

from uadbench.errors import InputError
from uadbench.runtime.commands import command, spelled

app = typer.Typer(help="Files to begin with.", no_args_is_help=True)

TEMPLATES = Path(__file__).parent / "templates"
KINDS = ("reconstruction", "map")


@app.callback()
def new() -> None:
    """Files to begin with."""


@app.command("model")
def model(
    name: Annotated[str, typer.Argument(help="What the model is called: small letters, digits and _.")],
    folder: Annotated[Path, typer.Option(help="Where NAME.py and test_NAME.py go.")] = Path(),
    kind: Annotated[
        str, typer.Option(help="'reconstruction': it restores a healthy scan; 'map': it gives an anomaly map alone.")
    ] = "reconstruction",
) -> None:
    """Write NAME.py, a small model that learns and runs as it is, and test_NAME.py, the contract checks on it."""
    from uadbench.registry import did_you_mean
    from uadbench.runtime.files import require_writable, write_text

    if kind not in KINDS:
        raise InputError(f"--kind {kind}: there is no such kind; {did_you_mean(kind, list(KINDS))}")
    _require_free(name)
    files = {folder / f"{name}.py": f"{kind}.py.jinja", folder / f"test_{name}.py": "test.py.jinja"}
    class_name = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    words = name.replace("_", " ").capitalize()
    texts = {file: _filled(template, name=name, class_name=class_name, words=words) for file, template in files.items()}
    for file, text in texts.items():
        if file.exists() and not _holds(file, text):  # an equal file is left from this command, which was killed
            raise InputError(f"{file}: is there already, and is not overwritten; choose another name or --folder")
    require_writable(folder)
    for file, text in texts.items():
        write_text(file, text)
        print(file)
    reference = f"{spelled(folder / f'{name}.py')}:{class_name}"
    print(f"now: {command('uadbench', 'test-model', reference)}")
    print(f"     {command('uadbench', 'run', model=reference, protocol='smoke')}")


def _holds(file: Path, text: str) -> bool:
    """Whether a file holds exactly this text."""
    try:
        return file.read_bytes() == text.encode()
    except OSError:
        return False


def _require_free(name: str) -> None:
    """Raises InputError for what is no module's name, or that of a module or model which exists."""
    from uadbench import registry

    suggestion = "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_0123456789") or "my_net"
    if not (name.isascii() and name.isidentifier() and name == name.lower()) or name.startswith("_"):
        raise InputError(f"'{name}' cannot be a Python file's name in small letters; did you mean '{suggestion}'?")
    if keyword.iskeyword(name):
        raise InputError(f"'{name}' is a word of Python; did you mean '{name}_net'?")
    if name in registry.models.names():
        source = registry.models.origins()[name].source
        raise InputError(f"model '{name}' exists ({source}); did you mean 'my_{name}'?")
    if importlib.util.find_spec(name) is not None:
        raise InputError(f"'{name}' is a module that your file would hide; did you mean 'my_{name}'?")


def _filled(template: str, **values: str) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.get_template(template).render(**values)
