"""Names to plugins: built-in, from installed packages by entry point, or from `./mine.py:MyNet`."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from uadbench.errors import InputError
from uadbench.runtime.modules import imported_from, module_file

Plugin = TypeVar("Plugin", bound=type)


@dataclass(frozen=True)
class Origin:
    """Where a registered name comes from, before anything heavy is imported."""

    name: str
    source: str
    """`built in`, or the distribution and object that an entry point names."""
    summary: str
    module: str
    extra: str = ""
    """The extra of pyproject.toml that a built-in one says it needs, or ""."""
    entry_point: EntryPoint | None = None


class Registry:
    """The plugins of one kind.

    Args:
        kind: What a plugin is called in messages, such as "model".
        package: The package whose modules hold the built-in plugins.
        group: The entry-point group by which other packages add theirs.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self._loaded: dict[str, type] = {}

    def register(self, name: str) -> Callable[[Plugin], Plugin]:
        """Class decorator: make a class known as `name`. A name that is taken is an error."""

        def decorate(plugin: Plugin) -> Plugin:
            known = self._loaded.get(name)
            taken = "" if known is None or _where(known) == _where(plugin) else _where(known)
            for origin in _built_in(self.package, f"register_{self.kind}"):
                if origin.name == name and origin.module != plugin.__module__:
                    taken = origin.module
            if taken:
                raise InputError(
                    f"{self.kind} '{name}' is registered twice: by {taken} and by {_where(plugin)}; rename one"
                )
            self._loaded[name] = plugin
            plugin.registered_name = name  # type: ignore[attr-defined]
            return plugin

        return decorate

    def origins(self) -> dict[str, Origin]:
        """Every known name, sorted, with its origin; imports no plugin.

        Raises:
            InputError: If two sources claim one name.
        """
        found: dict[str, Origin] = {}
        for origin in [*_built_in(self.package, f"register_{self.kind}"), *self._from_packages()]:
            if origin.name in found:
                raise InputError(
                    f"{self.kind} '{origin.name}' is offered twice: {found[origin.name].source} and {origin.source}; "
                    "uninstall one or rename it"
                )
            found[origin.name] = origin
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """All names: built in, from installed packages, and registered in this process."""
        return sorted({*self.origins(), *self._loaded})

    def get(self, name: str) -> type:
        """The class behind a name or behind `path/to/file.py:Class`.

        Raises:
            InputError: For an unknown name, with the nearest known one.
        """
        if ".py:" in name:
            return _from_file(name)
        if name in self._loaded:
            return self._loaded[name]
        origin = self.origins().get(name)
        if origin is None:
            if name.endswith(".py"):
                raise InputError(_without_class(name))
            raise InputError(f"no {self.kind} is called '{name}'; {did_you_mean(name, self.names())}")
        if origin.entry_point is None:
            importlib.import_module(origin.module)
            return self._loaded[name]
        return self._load(origin)

    def load_all(self) -> Mapping[str, type]:
        """Every plugin that can be loaded; a broken one of another package is reported and skipped."""
        loaded: dict[str, type] = {}
        for name in self.names():
            try:
                loaded[name] = self.get(name)
            except InputError as error:
                warnings.warn(f"skipped: {error}", stacklevel=2)
        return loaded

    def _from_packages(self) -> list[Origin]:
        return [
            Origin(
                name=point.name,
                source=f"{point.dist.name if point.dist else 'a package'} ({point.value})",
                summary=_summary(point.module, point.attr),
                module=point.module,
                entry_point=point,
            )
            for point in entry_points(group=self.group)
        ]

    def _load(self, origin: Origin) -> type:
        assert origin.entry_point is not None
        try:
            plugin = origin.entry_point.load()
        except Exception as error:  # a plugin is somebody else's code: anything can come out of it
            raise InputError(
                f"{self.kind} '{origin.name}' of {origin.source} cannot be loaded: {_one_line(error)}"
            ) from error
        if not isinstance(plugin, type):
            raise InputError(f"{self.kind} '{origin.name}' of {origin.source} is not a class")
        self._loaded.setdefault(origin.name, plugin)
        plugin.registered_name = origin.name  # type: ignore[attr-defined]
        return plugin


def names_code(value: Any) -> bool:
    """Whether a value would make `Registry.get` run a file: what a user may write, and a data file may not."""
    return ".py:" in str(value)


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of an error line: the nearest known name, or all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"


def options_of(plugin: type) -> dict[str, inspect.Parameter]:
    """The typed constructor arguments of a plugin that a user may set, by name.

    `self` and `grid` are the harness's and are left out.
    """
    parameters = inspect.signature(plugin, eval_str=True).parameters
    return {name: p for name, p in parameters.items() if name not in {"self", "grid"} and p.kind != p.VAR_KEYWORD}


def check_options(label: str, plugin: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options to the types that the plugin's constructor declares.

    Raises:
        InputError: For an unknown option or a value of the wrong type.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    known = options_of(plugin)
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            options = ", ".join(known) or "it has none"
            raise InputError(f"{label} has no option '{name}'; its options: {options}")
        expected = known[name].annotation
        if expected is inspect.Parameter.empty:
            raise InputError(f"{label}: option '{name}' has no type in the constructor; give it one, as in {name}: int")
        try:
            adapter = TypeAdapter(expected, config=ConfigDict(strict=not isinstance(value, str), allow_inf_nan=False))
            checked[name] = (
                adapter.validate_strings(value) if isinstance(value, str) else adapter.validate_python(value)
            )
        except ValidationError as error:
            plain = get_args(expected)[0] if get_origin(expected) is Annotated else expected
            kind = getattr(plain, "__name__", str(plain))
            reason, default = error.errors()[0]["msg"].partition(",")[0], known[name].default
            example = "" if default in (inspect.Parameter.empty, None, "") else f"; give one such as {default}"
            raise InputError(f"{label}.{name}={value!r} is not of type {kind}: {reason}{example}") from None
    return checked


@cache
def _built_in(package: str, decorator: str) -> tuple[Origin, ...]:
    """Read the names out of the decorators' source, so that listing imports nothing."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    classes: list[tuple[ast.ClassDef, str]] = []
    for file in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if f"@{decorator}(" in text or "    extra" in text:
            classes += [(node, file.stem) for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    by_name = {node.name: node for node, _ in classes}
    found = []
    for node, stem in classes:
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == decorator:
                argument = call.args[0]
                assert isinstance(argument, ast.Constant)
                summary = (ast.get_docstring(node) or "").split("\n")[0]
                name, module = str(argument.value), f"{package}.{stem}"
                found.append(Origin(name, "built in", summary, module, _extra(node, by_name)))
    return tuple(found)


def _summary(module: str, name: str, hops: int = 3) -> str:
    """The first line of a class's docstring, read from source; "" where it cannot be found.

    A name that a module takes from another, as a package's `__init__` does, is followed for some hops.
    """
    file = module_file(module)
    try:
        body = [] if file is None else ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # somebody else's file
        return ""
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return (ast.get_docstring(node) or "").split("\n")[0]
        if isinstance(node, ast.ImportFrom) and hops:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    package = module if file and file.name == "__init__.py" else module.rpartition(".")[0]
                    return _summary(imported_from(node, package), alias.name, hops - 1)
    return ""


def _extra(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> str:
    """The class attribute `extra` of a class, or that of the first base in the package that has one."""
    for line in node.body:
        if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "extra":
            return str(ast.literal_eval(line.value))
    bases = [classes[name] for base in node.bases if (name := getattr(base, "id", "")) in classes]
    return next((extra for base in bases if (extra := _extra(base, classes))), "")


def _without_class(reference: str) -> str:
    """What is wrong with a file that is given without a class; its classes are read, and nothing in it is run."""
    file = Path(reference).expanduser()
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{reference}: no such file; give PATH.py:Class"
    except (OSError, SyntaxError, ValueError) as error:
        return f"{reference} cannot be read: {_one_line(error)}"
    classes = [f"{reference}:{node.name}" for node in tree.body if isinstance(node, ast.ClassDef)]
    return f"{reference}: name the class, too; " + (f"give {' or '.join(classes)}" if classes else "it has none")


def _from_file(reference: str) -> type:
    path_text, _, class_name = reference.rpartition(":")
    path = Path(path_text).expanduser().resolve()
    if not path.is_file():
        raise InputError(f"{path_text}: no such file; give PATH.py:Class")
    module_name = "uadbench_file_" + path.stem
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with redirect_stdout(sys.stderr):  # stdout may be JSON
            spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:  # the user's file: anything can come out of it
        raise InputError(f"{path_text} cannot be loaded: {_one_line(error)}") from error
    plugin = getattr(module, class_name, None)
    if not isinstance(plugin, type):
        classes = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module_name]
        raise InputError(f"{path_text} has no class '{class_name}'; {did_you_mean(class_name, classes)}")
    if "registered_name" not in vars(plugin):
        plugin.registered_name = class_name  # type: ignore[attr-defined]
    return plugin


def _where(plugin: type) -> str:
    return f"{plugin.__module__}.{plugin.__qualname__}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


models = Registry("model", "uadbench.models", "uadbench.models")
cohorts = Registry("cohort", "uadbench.cohorts", "uadbench.cohorts")

register_model = models.register
register_cohort = cohorts.register
