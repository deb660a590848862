"""A hash of a model's source code, with the modules that it uses; formatting and comments do not change it."""

from __future__ import annotations

import dis
import functools
import inspect
import linecache
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor, nn

from uadbench import registry
from uadbench.models.base import Model
from uadbench.models.initial_state import held, tensors_digest
from uadbench.runtime.files import canonical, content_hash
from uadbench.runtime.modules import module_file
from uadbench.runtime.syntax import LABELS, Reduced, reduced

OWN = "uadbench"
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Names of folders into which package managers install."""

NO_CODE = frozenset({"__module__", "__qualname__", "__doc__", "__annotations__", "__dict__", "__weakref__"}).union(
    {"__firstlineno__", "__static_attributes__", "__parameters__", "__abstractmethods__", "_abc_impl"},
    {"registered_name"},
    LABELS,
)
"""Attributes of a class that do not affect what it computes."""

WRAPPERS = (staticmethod, classmethod, MethodType, functools.partial, functools.cached_property, property)
WRAPPED = ("__func__", "func", "args", "keywords", "fget", "fset")

HEAP_TYPE = 1 << 9
"""The flag of classes that are made by a class statement, not in C."""


class Unknown(Exception):
    """Raised if code, or a value that it uses, cannot be found."""


def source_digest(*plugins: type) -> str | None:
    """A hash of the code of a model and of the models that it contains.

    Any change of what is computed changes the hash. Moved or renamed files, formatting, comments and docstrings do not:
    code is hashed as its syntax tree (see `syntax.reduced`), without the names, files and order of modules.

    For a class in a file, the hash covers its module and, recursively, every near module that it imports, at its top or
    inside a function, or from which it holds a value. Near modules are those that the model's author may change between
    two runs: the modules of `uadbench.models`, of the package that the model belongs to, and in the folder of its file,
    and all others that were not installed by a package manager.

    An import from a near module is hashed as the imported name and the content of that module, so that the same name
    from another module is a change; an import from elsewhere in uadbench as the name only; any other as the module's
    full name and the imported name. Modules are hashed as a whole: moving code from one near module to another changes
    the hash, and so does a change in a part of a module that the model does not use.

    For a class in a notebook or at a prompt, whose module has no file, the hash covers the lines of its methods as
    Python keeps them for tracebacks (IPython keeps those of every cell), the values in the class, and everything that
    these use from the module or an enclosing function: functions, lambdas, classes, near modules, tensors, arrays,
    plain values.

    Not covered are: what is reached by a computed name (`getattr`, `importlib`) or as an attribute of another object;
    files that code reads (`models.initial_state` covers weights); code that uses its own docstrings, names or line
    numbers; and installed packages, whose versions are in the result. Not found are methods from an executed string,
    methods from standard input before Python 3.13, and values whose `repr` is incomplete.

    Args:
        plugins: The class of the model, and the classes of models that it contains.

    Returns:
        A hexadecimal digest; None if some of the code cannot be found.
    """
    try:
        search = _Search(plugins)
    except Unknown:
        return None
    return content_hash(*sorted(set(search.modules.values())), *search.loose)


class _Search:
    """Collects the code that classes use, directly and indirectly.

    Attributes:
        modules: The hashes of modules, by file.
        loose: Descriptions of code and values that are not in a file, in the order in which they were found.
    """

    def __init__(self, plugins: tuple[type, ...]) -> None:
        self.modules: dict[Path, str] = {}
        self.loose: list[Any] = []
        self._seen: dict[int, Any] = {}  # keeps objects alive, so that no id is used twice
        classes = list(dict.fromkeys(base for plugin in plugins for base in plugin.__mro__))
        own = [base for base in classes if issubclass(base, Model)]
        others = [base for base in own if _top(base.__module__) != OWN]
        self._homes = {file.parent for base in others if (file := _file_of(_module_of(base)))}
        self._packages = {_top(base.__module__) for base in others} - {"__main__"}
        for base in classes:
            if base in own or _file_of(_module_of(base)) is None:
                self._take_class(base)

    def _take_class(self, plugin: type) -> None:
        """Take a class: its module if that has a file, else its attributes."""
        if id(plugin) in self._seen or not plugin.__flags__ & HEAP_TYPE:
            return
        self._seen[id(plugin)] = plugin
        module = _module_of(plugin)
        file = _file_of(module)
        if file is not None:
            self._take_module(plugin.__module__, file, module)
        for name, value in vars(plugin).items():
            inner = inspect.unwrap(value) if isinstance(value, FunctionType) else value
            if name in NO_CODE or _is_of_dataclass(plugin, inner):
                continue
            if file is None:
                self.loose.append([plugin.__qualname__, name, self._described(value)])
            elif isinstance(inner, FunctionType):  # it may have been put into the class from elsewhere
                self._follow(inner)
        for base in plugin.__mro__[1:] if file is None else ():
            self._follow(base)

    def _take_module(self, name: str, file: Path, module: ModuleType | None) -> None:
        """Take a module and the near modules that it uses; a module that is not loaded is read from its file."""
        if file in self.modules:
            return
        self.modules[file] = ""  # modules may import each other
        self.modules[file] = self._hash(_reduced(name, file, module))
        for other in _reached(module):
            self._follow_module(other)

    def _take_function(self, function: FunctionType) -> None:
        """Take a function that is not in a module taken as a whole: its lines, and what they use."""
        if id(function) in self._seen:
            return
        self._seen[id(function)] = function
        code = function.__code__
        lines = reduced(_lines(code).encode(), function.__globals__.get("__package__") or "")
        self.loose.append([function.__qualname__, self._hash(lines)])
        used = {name: function.__globals__[name] for name in _names(code) if name in function.__globals__}
        used |= {name: _content(cell) for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)}
        used |= {"defaults": function.__defaults__, "keyword defaults": function.__kwdefaults__}
        for name, value in sorted(used.items()):
            self.loose.append([function.__qualname__, name, self._described(value)])

    def _follow(self, value: type | FunctionType) -> None:
        """Take a class or function if it is near, or not in a file."""
        module = sys.modules.get(value.__module__ or "")
        file = _file_of(module)
        if isinstance(value, FunctionType) and not (file and file.stem == Path(value.__code__.co_filename).stem):
            self._take_function(value)
        elif file is None:
            self._take_class(value)  # type: ignore[arg-type]
        elif self._is_near(value.__module__, file):
            self._take_module(value.__module__, file, module)

    def _follow_module(self, name: str) -> Reduced | None:
        """Take a module if it is near, and return its own code; else None."""
        module = sys.modules.get(name)
        if module is None and not self._may_be_near(name):
            return None
        file = module_file(name) if module is None else _file_of(module)
        if file is None or file.suffix != ".py" or not self._is_near(name, file):
            return None
        self._take_module(name, file, module)
        return _reduced(name, file, module)

    def _hash(self, code: Reduced) -> str:
        """The hash of code and of its imports; near modules among these are taken, too."""
        return content_hash(code.digest, [self._imported(module, name) for module, name in code.imports])

    def _imported(self, module: str, name: str) -> list[str]:
        """The description of an import in the hash."""
        outer = self._home(module)
        inner = self._follow_module(f"{module}.{name}") if name else None
        return [outer, name] if inner is None else [inner.digest, ""]

    def _home(self, module: str) -> str:
        """The description of a module in the hash: its own code if it is near, else its name (OWN within uadbench)."""
        code = self._follow_module(module)
        return code.digest if code is not None else OWN if _top(module) == OWN else module

    def _described(self, value: Any) -> Any:
        """The description of a value in the hash; code that belongs to it is taken, too. Raises Unknown."""
        if isinstance(value, (type, FunctionType)):
            self._follow(value)
            return [self._home(value.__module__ or ""), value.__qualname__]
        if isinstance(value, ModuleType):
            return self._home(value.__name__)
        if isinstance(value, BuiltinFunctionType):
            return [value.__module__, value.__qualname__]
        if isinstance(value, WRAPPERS):
            return [type(value).__name__, *(self._described(getattr(value, part, None)) for part in WRAPPED)]
        return self._data(value)

    def _data(self, value: Any) -> Any:
        """The description of a value that is not code. Raises Unknown."""
        if isinstance(value, (Tensor, np.ndarray, nn.Module)):
            self._follow(type(value))
            return [type(value).__qualname__, _numbers(value)]
        if isinstance(value, (list, tuple)):
            return [type(value).__name__, *map(self._described, value)]
        if isinstance(value, (set, frozenset)):
            return [type(value).__name__, *sorted(map(self._described, value), key=canonical)]
        if isinstance(value, Mapping):
            return [type(value).__name__, *(list(map(self._described, item)) for item in value.items())]
        return _words(value)

    def _is_near(self, name: str, file: Path) -> bool:
        top = _top(name)
        if top == OWN:
            return f"{name}.".startswith(f"{registry.models.package}.")
        if file.parent in self._homes or top in self._packages or name.startswith("uadbench.models."):
            return True
        return top not in sys.stdlib_module_names and not INSTALLED & set(file.parts)

    def _may_be_near(self, name: str) -> bool:
        """Whether a module that is not loaded can be near, so that its file must be searched."""
        top = _top(name)
        file = _file_of(sys.modules.get(top))
        return top not in sys.stdlib_module_names and (top == OWN or file is None or self._is_near(top, file))


def _top(name: str) -> str:
    """The top-level package of a module."""
    return name.partition(".")[0]


def _module_of(plugin: type) -> ModuleType | None:
    return sys.modules.get(plugin.__module__)


def _file_of(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None) or ""
    return Path(file) if file and not file.startswith("<") else None  # "<stdin>" is none


def _code(module: ModuleType | None, file: Path) -> bytes:
    """The source that a module was loaded from, as far as possible: a file is read once each time it is loaded.

    A process that runs longer than a version of its files keeps using, and hashing, the code that it has loaded.
    """
    if module is not None and module in _read:
        return _read[module]
    try:
        code = file.read_bytes()
    except OSError:
        code = _from_loader(module, file)
    if module is not None:
        _read[module] = code
    return code


_read: WeakKeyDictionary[ModuleType, bytes] = WeakKeyDictionary()


def _from_loader(module: ModuleType | None, file: Path) -> bytes:
    """The source of a module in an archive. Raises Unknown."""
    try:
        found: bytes = module.__loader__.get_data(str(file))  # type: ignore[union-attr]
    except (AttributeError, OSError):
        raise Unknown(str(file)) from None
    return found


def _reduced(name: str, file: Path, module: ModuleType | None) -> Reduced:
    return reduced(_code(module, file), name if file.stem == "__init__" else name.rpartition(".")[0])


def _reached(module: ModuleType | None) -> Iterator[str]:
    """Yield the modules that a loaded module holds, or from which it holds a class or function.

    Submodules are left out, since a package holds every one that was loaded from anywhere; those that it imports itself
    are found in its code.
    """
    for value in vars(module).values() if module is not None else ():
        inside = isinstance(value, ModuleType) and value.__name__.startswith(f"{module.__name__}.")  # type: ignore[union-attr]
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str) and not inside:
            yield name


def _lines(code: CodeType) -> str:
    """The source lines of a function. Raises Unknown if Python does not have them."""
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    if not lines:
        raise Unknown(code.co_qualname if sys.version_info >= (3, 11) else code.co_name)
    return "".join(inspect.getblock(lines))


def _names(code: CodeType) -> set[str]:
    """The global names that code uses, including those in nested functions."""
    found = {step.argval for step in dis.get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    return found.union(*(_names(part) for part in code.co_consts if isinstance(part, CodeType)))


def _content(cell: Any) -> Any:
    """The value of a closure variable; None before it is set."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _is_of_dataclass(plugin: type, value: Any) -> bool:
    """Whether a method was generated from the fields of a dataclass."""
    made = isinstance(value, FunctionType) and value.__code__.co_filename == "<string>"
    return made and "__dataclass_fields__" in vars(plugin)


def _numbers(value: Tensor | np.ndarray | nn.Module) -> str:
    holder = nn.Module()
    holder.values = [value]  # type: ignore[assignment]
    try:
        return tensors_digest(dict(held(holder)))
    except (RuntimeError, TypeError, NotImplementedError):
        raise Unknown(type(value).__qualname__) from None


def _words(value: Any) -> str:
    """The type and `repr` of a value. Raises Unknown if the `repr` contains a memory address or is abbreviated."""
    try:
        words = repr(value)
    except Exception:  # third-party code may raise anything
        raise Unknown(type(value).__qualname__) from None
    if not isinstance(value, (str, bytes, type(...))) and (" at 0x" in words or "..." in words):
        raise Unknown(words)
    return f"{type(value).__qualname__} {words}"
