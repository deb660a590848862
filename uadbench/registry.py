"""The plugin registry: finds models and cohorts by name, in uadbench, in installed packages, or in a file."""

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
    """The source of a registered name, which is known without importing the plugin."""

    name: str
    source: str
    """`built in`, or the distribution and object that an entry point names."""
    summary: str
    """The first line of the plugin's docstring."""
    module: str
    extra: str = ""
    """The extra of pyproject.toml that a built-in plugin requires, or ""."""
    family: str = ""
    """The family that the plugin states, or ""."""
    entry_point: EntryPoint | None = None


class Registry:
    """The plugins of one kind.

    Args:
        kind: The word for a plugin in messages, such as "model".
        package: The package whose modules contain the built-in plugins.
        group: The entry-point group in which other packages register plugins.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self._loaded: dict[str, type] = {}

    def register(self, name: str) -> Callable[[Plugin], Plugin]:
        """Class decorator that registers a class under a name.

        Args:
            name: The name.

        Returns:
            The decorator, which returns the class itself.

        Raises:
            InputError: If another class has the name.
        """

        def decorate(plugin: Plugin) -> Plugin:
            registered = self._loaded.get(name)
            taken = "" if registered is None or _where(registered) == _where(plugin) else _where(registered)
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
        """The origin of every registered name, sorted by name; no plugin is imported.

        Raises:
            InputError: If two sources provide the same name.
        """
        by_name: dict[str, Origin] = {}
        for origin in [*_built_in(self.package, f"register_{self.kind}"), *self._from_packages()]:
            if origin.name in by_name:
                raise InputError(
                    f"{self.kind} '{origin.name}' is offered twice: {by_name[origin.name].source} and {origin.source}; "
                    "uninstall one or rename it"
                )
            by_name[origin.name] = origin
        return dict(sorted(by_name.items()))

    def names(self) -> list[str]:
        """All names, sorted: built-in, from installed packages, and registered in this process."""
        return sorted({*self.origins(), *self._loaded})

    def get(self, name: str) -> type:
        """Load the class with a name.

        Args:
            name: A registered name, or `path/to/file.py:Class`.

        Returns:
            The class.

        Raises:
            InputError: If the name is unknown or the plugin cannot be loaded; for an unknown name the message
                suggests the most similar one.
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
        """Load every plugin; one that cannot be loaded is skipped with a warning."""
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
                summary=_summary(node) if (node := _class_in(point.module, point.attr)) else "",
                module=point.module,
                family=_attribute(node, "family") if node else "",
                entry_point=point,
            )
            for point in entry_points(group=self.group)
        ]

    def _load(self, origin: Origin) -> type:
        assert origin.entry_point is not None
        try:
            plugin = origin.entry_point.load()
        except Exception as error:  # a plugin is third-party code, which may raise anything
            raise InputError(
                f"{self.kind} '{origin.name}' of {origin.source} cannot be loaded: {_one_line(error)}"
            ) from error
        if not isinstance(plugin, type):
            raise InputError(f"{self.kind} '{origin.name}' of {origin.source} is not a class")
        self._loaded.setdefault(origin.name, plugin)
        plugin.registered_name = origin.name  # type: ignore[attr-defined]
        return plugin


def names_code(value: Any) -> bool:
    """Whether `Registry.get` would execute a file for a value, which a user may request and a data file may not.

    Args:
        value: The value of an option.

    Returns:
        True if it has the form PATH.py:Class.
    """
    return ".py:" in str(value)


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of an error message about an unknown name.

    Args:
        name: The unknown name.
        known: The valid names.

    Returns:
        A suggestion of the most similar valid name, or a list of all valid names if none is similar.
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"


def options_of(plugin: type) -> dict[str, inspect.Parameter]:
    """The constructor arguments of a plugin that a user may set, by name.

    Args:
        plugin: The class.

    Returns:
        All parameters except `self` and `grid`, which uadbench sets.
    """
    parameters = inspect.signature(plugin, eval_str=True).parameters
    return {name: p for name, p in parameters.items() if name not in {"self", "grid"} and p.kind != p.VAR_KEYWORD}


def check_options(label: str, plugin: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options to the types that the plugin's constructor declares.

    Args:
        label: The name of the plugin in messages.
        plugin: The class.
        options: The options by name; a string is parsed, other values must have the declared type.

    Returns:
        The converted options by name.

    Raises:
        InputError: For an unknown option or a value of the wrong type.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    parameters = options_of(plugin)
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name not in parameters:
            valid = ", ".join(parameters) or "it has none"
            raise InputError(f"{label} has no option '{name}'; its options: {valid}")
        expected = parameters[name].annotation
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
            reason, default = error.errors()[0]["msg"].partition(",")[0], parameters[name].default
            example = "" if default in (inspect.Parameter.empty, None, "") else f"; give one such as {default}"
            raise InputError(f"{label}.{name}={value!r} is not of type {kind}: {reason}{example}") from None
    return checked


@cache
def _built_in(package: str, decorator: str) -> tuple[Origin, ...]:
    """Read the names from the source of the decorators, so that listing does not import any plugin."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    classes: list[tuple[ast.ClassDef, str]] = []
    for file in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if f"@{decorator}(" in text or "    extra = " in text or "    family = " in text:
            classes += [(node, file.stem) for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    by_name = {node.name: node for node, _ in classes}
    origins = []
    for node, stem in classes:
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == decorator:
                argument = call.args[0]
                assert isinstance(argument, ast.Constant)
                extra, family = (_attribute(node, name, by_name) for name in ("extra", "family"))
                origin = Origin(str(argument.value), "built in", _summary(node), f"{package}.{stem}", extra, family)
                origins.append(origin)
    return tuple(origins)


def _summary(node: ast.ClassDef) -> str:
    """The first line of a class's docstring; "" if it has none."""
    return (ast.get_docstring(node) or "").split("\n")[0]


def _class_in(module: str, name: str, hops: int = 3) -> ast.ClassDef | None:
    """A class, read from source; None if it is not found.

    If the module imports the name from another module, as a package's `__init__` does, that module is read, and so on
    for at most `hops` imports.
    """
    file = module_file(module)
    try:
        body = [] if file is None else ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # a third-party file
        return None
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and hops:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    package = module if file and file.name == "__init__.py" else module.rpartition(".")[0]
                    return _class_in(imported_from(node, package), alias.name, hops - 1)
    return None


def _attribute(node: ast.ClassDef, name: str, classes: Mapping[str, ast.ClassDef] | None = None) -> str:
    """A text in a class attribute; "" if there is none.

    Args:
        node: The class.
        name: The attribute.
        classes: The classes among which its base classes are found, from which it may inherit the attribute.
    """
    for line in node.body:
        if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == name:
            return str(line.value.value) if isinstance(line.value, ast.Constant) else ""
    known = classes or {}
    bases = [known[base_name] for base in node.bases if (base_name := getattr(base, "id", "")) in known]
    return next((text for base in bases if (text := _attribute(base, name, known))), "")


def _without_class(reference: str) -> str:
    """The error message for a file without a class name. The file is parsed for its classes, but not executed."""
    file = Path(reference).expanduser()
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{reference}: no such file; give PATH.py:Class"
    except (OSError, SyntaxError, ValueError) as error:
        return f"{reference} cannot be read: {_one_line(error)}"
    classes = [f"{reference}:{node.name}" for node in tree.body if isinstance(node, ast.ClassDef)]
    return f"{reference}: no class is named; " + (
        f"give {' or '.join(classes)}" if classes else "the file contains no class"
    )


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
    except Exception as error:  # the user's code may raise anything
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
