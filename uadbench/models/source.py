"""The code of a model as one hash, as far as it can be found."""

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
from uadbench.runtime.syntax import Reduced, reduced

OWN = "uadbench"
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of what a package manager has put there."""

NO_CODE = frozenset({"__module__", "__qualname__", "__doc__", "__annotations__", "__dict__", "__weakref__"}).union(
    {"__firstlineno__", "__static_attributes__", "__parameters__", "__abstractmethods__", "_abc_impl"},
    {"registered_name"},
)
"""Attributes of a class that do not change what it computes."""

WRAPPERS = (staticmethod, classmethod, MethodType, functools.partial, functools.cached_property, property)
WRAPPED = ("__func__", "func", "args", "keywords", "fget", "fset")

HEAP_TYPE = 1 << 9
"""The flag of a class that a class statement has made, and no C code."""


class Unknown(Exception):
    """Some code, or a value that it uses, cannot be found."""


def source_digest(*plugins: type) -> str | None:
    """A hash of the code of a model and of the models that it is made of; None where some of it cannot be found.

    A change of what is computed changes the hash. A moved or renamed file with its imports, another format, another
    comment or docstring do not: code counts as its syntax tree (see `syntax.reduced`), no module counts by its name or
    file, and the order of modules does not count.

    Of a class in a file: the module, and every module near it that it imports, at its top or inside a function, or from
    which it holds a value, and so on. Near is what the model's author may change between two runs: the modules of
    `uadbench.models`, those of the package that the model belongs to, those in the folder of its file, and all others
    that no package manager has installed.

    An import from a module near counts as the imported name and the content of that module, so that the same name from
    another module is a change; one from elsewhere in uadbench as the name alone; any other as the module's full name
    and the imported name. Modules count as wholes: code that goes from one module near to another changes the hash, and
    so does a change in a part of a module that the model does not use.

    Of a class in a notebook or at a prompt, whose module has no file: the lines of its methods, as Python keeps them
    for tracebacks (IPython has those of every cell), the values in the class, and all that these use by a name of the
    module or of a function around them: functions, lambdas, classes, modules near, tensors, arrays, plain values.

    Not covered: what is reached by a computed name (`getattr`, `importlib`) or as an attribute of another object, files
    that code reads (`models.initial_state` sees weights among them), what code makes of its own docstrings, names or
    line numbers, and installed packages, whose versions are in the result. Not found are methods from a string that was
    executed, those from standard input before Python 3.13, and values that do not say what they are.
    """
    try:
        search = _Search(plugins)
    except Unknown:
        return None
    return content_hash(*sorted(set(search.modules.values())), *search.loose)


class _Search:
    """Follows code from classes to all that they use.

    Attributes:
        modules: The hashes of modules, by their files.
        loose: What stands for code and values that lie in no file, in the order in which they were found.
    """

    def __init__(self, plugins: tuple[type, ...]) -> None:
        self.modules: dict[Path, str] = {}
        self.loose: list[Any] = []
        self._seen: dict[int, Any] = {}  # holds what was seen, so that no id comes twice
        classes = list(dict.fromkeys(base for plugin in plugins for base in plugin.__mro__))
        own = [base for base in classes if issubclass(base, Model)]
        others = [base for base in own if _top(base.__module__) != OWN]
        self._homes = {file.parent for base in others if (file := _file_of(_module_of(base)))}
        self._packages = {_top(base.__module__) for base in others} - {"__main__"}
        for base in classes:
            if base in own or _file_of(_module_of(base)) is None:
                self._take_class(base)

    def _take_class(self, plugin: type) -> None:
        """A class: its module where that has a file, else what it holds."""
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
        """A module and the modules near that it uses; one that is not loaded yet is read from its file."""
        if file in self.modules:
            return
        self.modules[file] = ""  # modules may import each other
        self.modules[file] = self._hash(_reduced(name, file, module))
        for other in _reached(module):
            self._follow_module(other)

    def _take_function(self, function: FunctionType) -> None:
        """A function that lies in no file that is taken whole: its lines, and what they use."""
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
        """Take a class or function if it is near, or in no file."""
        module = sys.modules.get(value.__module__ or "")
        file = _file_of(module)
        if isinstance(value, FunctionType) and not (file and file.stem == Path(value.__code__.co_filename).stem):
            self._take_function(value)
        elif file is None:
            self._take_class(value)  # type: ignore[arg-type]
        elif self._is_near(value.__module__, file):
            self._take_module(value.__module__, file, module)

    def _follow_module(self, name: str) -> Reduced | None:
        """Take a module if it is near: its own code, or None."""
        module = sys.modules.get(name)
        if module is None and not self._may_be_near(name):
            return None
        file = module_file(name) if module is None else _file_of(module)
        if file is None or file.suffix != ".py" or not self._is_near(name, file):
            return None
        self._take_module(name, file, module)
        return _reduced(name, file, module)

    def _hash(self, code: Reduced) -> str:
        """The hash of code and of what its imports stand for; modules near among these are taken, too."""
        return content_hash(code.digest, [self._imported(module, name) for module, name in code.imports])

    def _imported(self, module: str, name: str) -> list[str]:
        """What stands for an import."""
        outer = self._home(module)
        inner = self._follow_module(f"{module}.{name}") if name else None
        return [outer, name] if inner is None else [inner.digest, ""]

    def _home(self, module: str) -> str:
        """What stands for a module: its own code if it is near, else its name, without its place in uadbench."""
        code = self._follow_module(module)
        return code.digest if code is not None else OWN if _top(module) == OWN else module

    def _described(self, value: Any) -> Any:
        """What stands for a value in the hash; the code that belongs to it is taken, too. Raises Unknown."""
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
        """The same for what is no code."""
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
        """Whether it is worthwhile to look for the file of a module that is not loaded."""
        top = _top(name)
        file = _file_of(sys.modules.get(top))
        return top not in sys.stdlib_module_names and (top == OWN or file is None or self._is_near(top, file))


def _top(name: str) -> str:
    """The outermost package of a module."""
    return name.partition(".")[0]


def _module_of(plugin: type) -> ModuleType | None:
    return sys.modules.get(plugin.__module__)


def _file_of(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None) or ""
    return Path(file) if file and not file.startswith("<") else None  # "<stdin>" is none


def _code(module: ModuleType | None, file: Path) -> bytes:
    """What a module was made from, as far as that can still be told: a file is read once for each time it is loaded.

    A process that lives longer than a version of its files goes on with the code that it has, and is known by that.
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
    """The code of a module in an archive. Raises Unknown."""
    try:
        found: bytes = module.__loader__.get_data(str(file))  # type: ignore[union-attr]
    except (AttributeError, OSError):
        raise Unknown(str(file)) from None
    return found


def _reduced(name: str, file: Path, module: ModuleType | None) -> Reduced:
    return reduced(_code(module, file), name if file.stem == "__init__" else name.rpartition(".")[0])


def _reached(module: ModuleType | None) -> Iterator[str]:
    """The modules that a loaded one holds, or from which it holds a class or function.

    A package holds every module in it that has been loaded, by whomever: those that it imports itself are found there.
    """
    for value in vars(module).values() if module is not None else ():
        inside = isinstance(value, ModuleType) and value.__name__.startswith(f"{module.__name__}.")  # type: ignore[union-attr]
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str) and not inside:
            yield name


def _lines(code: CodeType) -> str:
    """The lines of a function. Raises Unknown where Python does not have them."""
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    if not lines:
        raise Unknown(code.co_qualname if sys.version_info >= (3, 11) else code.co_name)
    return "".join(inspect.getblock(lines))


def _names(code: CodeType) -> set[str]:
    """The names of the module that code uses, those of functions inside it included."""
    found = {step.argval for step in dis.get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    return found.union(*(_names(part) for part in code.co_consts if isinstance(part, CodeType)))


def _content(cell: Any) -> Any:
    """What a variable around a function holds; None before it is set."""
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
    """What a value says of itself, if it says all: no place in memory, and nothing left out. Raises Unknown."""
    try:
        words = repr(value)
    except Exception:  # anybody's code
        raise Unknown(type(value).__qualname__) from None
    if not isinstance(value, (str, bytes, type(...))) and (" at 0x" in words or "..." in words):
        raise Unknown(words)
    return f"{type(value).__qualname__} {words}"
