"""What a model's code is, wherever it was written: in files, in a notebook, at a prompt, or in a string."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import uadbench
from uadbench import registry
from uadbench.models.base import Model
from uadbench.models.layers.convolutional import Decoder
from uadbench.models.source import source_digest
from uadbench.models.vae3d import VAE3D
from uadbench.models.vqvae3d import VQVAE3D
from uadbench.models.zscore import ZScore
from uadbench.runtime.syntax import reduced
from uadbench.types import Grid

KERNEL = """
import json, linecache, os, pathlib, sys
from uadbench.models.source import source_digest

def cell(number, text):
    # as IPython runs a cell: under a name of its own, whose lines tracebacks find in linecache
    name = f"/tmp/ipykernel_{os.getpid()}/{number}.py"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), sys.modules["__main__"].__dict__)

found = []
for number, (cells, files) in enumerate(JOBS):
    for name, text in files.items():
        pathlib.Path(f"{name}.py").write_text(text)
        sys.modules.pop(name, None)
    for place, text in enumerate(cells):
        cell(1000 * number + place, text)
    found.append(source_digest(Net))
print(json.dumps(found))
"""

CELLS = {
    "imports": "import cmath, functools, math\nimport numpy as np, torch\nfrom torch import nn\n"
    "from uadbench import ReconstructionModel, register_model\nimport near_notebook\n",
    "constants": "GAIN = 0.5\nTABLE = {'a': [1.0, (2, 3)]}\nPRIOR = torch.ones(3)\nARRAY = np.ones(3)\nUNUSED = 1\n"
    "EXP = math.exp\nSOME = {'a', 'b', nn.Linear}\n",
    "helpers": "def inner(x):\n    return x * GAIN\n\ndef unused():\n    return 0\n",
    "lambda": "twice = lambda x: 2 * x\n",
    "layer": "class Layer(nn.Module):\n    slope = 0.1\n    def forward(self, x):\n        return inner(x)\n",
    "factory": "def power(n):\n    def raised(x):\n        return x**n\n    return raised\nsquare = power(2)\n"
    "half = functools.partial(torch.mul, 0.5)\n"
    "net = nn.Linear(2, 2)\nnn.init.ones_(net.weight), nn.init.ones_(net.bias)\n",
    "model": "@register_model('net')\nclass Net(ReconstructionModel):\n"
    "    def __init__(self, grid, table: float = TABLE['a'][0]) -> None:\n"
    "        super().__init__(grid)\n        self.layer = Layer()\n"
    "    @property\n    def rate(self):\n        return near_notebook.rate()\n"
    "    @torch.no_grad()\n    def reconstruct(self, batch):\n"
    "        return twice(square(half(self.layer(batch.images)))) * PRIOR.mean() * ARRAY.mean() * TABLE['a'][0]\n"
    "    def losses(self, batch):\n        import near_in_a_cell\n"
    "        def closer():\n            return net(batch.images), EXP, SOME\n"
    "        yield 'all', closer()\n",
}

NEAR = "from near_constant import RATE\ndef rate():\n    import near_lazy\n    return RATE\n"


def edited(old: str, new: str) -> dict[str, str]:
    cells = {name: text.replace(old, new) for name, text in CELLS.items()}
    assert cells != CELLS
    return cells


def digests(
    notebooks: list[dict[str, str]], folder: Path, near: list[dict[str, str]] | None = None
) -> list[str | None]:
    """The digests of `Net`, whose cells are run in a Python that reads from standard input, as a kernel runs them."""
    files = {"near_notebook": NEAR, "near_constant": "RATE = 1\n", "near_lazy": "\n", "near_in_a_cell": "\n"}
    jobs = [(list(cells.values()), files) for cells in notebooks]
    jobs += [(list(CELLS.values()), {**files, **changed}) for changed in near or []]
    run = [sys.executable, "-B", "-"]
    code = f"JOBS = {jobs!r}\n{KERNEL}"
    done = subprocess.run(run, input=code, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str | None] = json.loads(done.stdout.splitlines()[-1])
    return found


USED = {
    "2 * x": "3 * x",
    "x * GAIN": "x + GAIN",
    "GAIN = 0.5": "GAIN = 0.25",
    "(2, 3)": "(2, 4)",
    "PRIOR = torch.ones(3)": "PRIOR = torch.full((3,), 1.5)",
    "ARRAY = np.ones(3)": "ARRAY = np.zeros(3)",
    "slope = 0.1": "slope = 0.2",
    "power(2)": "power(3)",
    "torch.mul, 0.5": "torch.mul, 0.4",
    "nn.init.ones_(net.weight)": "nn.init.zeros_(net.weight)",
    "yield 'all'": "yield 'al'",
    "= math.exp": "= cmath.exp",
    "nn.Linear}": "nn.Bilinear}",
}
WORDS = {
    "return inner(x)": "return inner(  # the gain\n            x)",
    "    def losses(self, batch):\n": "    def losses(self, batch):\n        '''Of a batch,\nin turn.'''\n\n",
    "def inner(x):\n    return": "def inner(x):\n  '''Half of it.'''\n  return",
}
LOST = {
    "GAIN = 0.5": "GAIN = object()",
    "twice = lambda x: 2 * x": "exec('def twice(x): return 2 * x')",
    "PRIOR = torch.ones(3)": "PRIOR = torch.ones(3, device='meta')",
}


@pytest.mark.slow
def test_a_model_of_a_notebook_is_known_by_all_cells_that_it_uses(tmp_path: Path) -> None:
    near = [{"near_notebook": NEAR.replace("return RATE", "return -RATE")}, {"near_constant": "RATE = 2\n"}]
    near += [{"near_lazy": "SLOW = 1\n"}, {"near_in_a_cell": "SLOW = 1\n"}]
    changed = [edited(old, new) for old, new in USED.items()]
    lost = [edited(old, new) for old, new in LOST.items()]
    same = [CELLS, *(edited(old, new) for old, new in WORDS.items())]
    known, *found = digests([CELLS, *same, *lost, *changed], tmp_path, near)
    assert known is not None and found[: len(same)] == [known] * len(same)
    found = found[len(same) :]
    assert found[: len(lost)] == [None] * len(lost)
    labels = [*USED, *(next(iter(files)) for files in near)]
    missed = [label for label, digest in zip(labels, found[len(lost) :], strict=True) if digest in {known, None}]
    assert not missed
    other = {"first": "import os\n", **edited("UNUSED = 1", "UNUSED = object()"), "last": "print('hello')\n"}
    assert digests([other], tmp_path) == [known], "another process, and what the model does not use"


CLASS = (
    "from uadbench.models.base import ReconstructionModel\nclass Net(ReconstructionModel):\n"
    "    def reconstruct(self, batch):\n        return batch.images\n"
)


@pytest.mark.parametrize("space", [{}, {"__name__": "__main__"}, {"__name__": "none"}, {"__name__": __name__}])
def test_a_class_from_a_string_has_an_unknown_source(space: dict[str, str]) -> None:
    exec(CLASS, space)
    assert source_digest(space["Net"]) is None  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["-"], ["-i"], ["-c", CLASS + "print(SHOW(Net))"]])
def test_standard_input_and_a_command_crash_nothing(arguments: list[str], tmp_path: Path) -> None:
    shown = "from uadbench.models.source import source_digest as SHOW\n"
    run = [sys.executable, "-B", *(shown + part if part.startswith("from") else part for part in arguments)]
    code = f"{shown}{CLASS}\nprint(SHOW(Net))\n"
    done = subprocess.run(run, input=code, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    (found,) = done.stdout.split()
    assert (found == "None") is (sys.version_info < (3, 13)), "Python keeps these lines since 3.13"


@pytest.mark.slow
def test_a_script_and_a_module_in_an_archive_are_known(tmp_path: Path) -> None:
    script = f"{CLASS}from uadbench.models.source import source_digest\nprint(source_digest(Net))\n"
    (tmp_path / "script.py").write_text(script)
    with zipfile.ZipFile(tmp_path / "nets.zip", "w") as archive:
        archive.writestr("zipped.py", CLASS)
    zipped = "import sys; sys.path.insert(0, 'nets.zip'); from zipped import Net\n"
    zipped += "from uadbench.models.source import source_digest; print(source_digest(Net))"
    for run in ([sys.executable, "-B", "script.py"], [sys.executable, "-B", "-c", zipped]):
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert len(done.stdout.strip()) == 64, done


def test_a_method_that_is_put_into_a_class_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(CLASS)
    plugin = registry.models.get(f"{tmp_path / 'net.py'}:Net")
    before = source_digest(plugin)
    space: dict[str, object] = {"__name__": "elsewhere"}
    exec("def reconstruct(self, batch):\n    return 0 * batch.images\n", space)
    monkeypatch.setattr(plugin, "reconstruct", space["reconstruct"])
    assert before is not None and source_digest(plugin) is None


def test_modules_that_are_imported_by_a_value_or_late_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`from x import constant`, and an import in a function that has not run."""
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    digests = set()
    for constant, late in ((1, 1), (2, 1), (2, 2)):
        (tmp_path / "elsewhere" / "constants_of_net.py").write_text(f"GAIN = {constant}\n")
        (tmp_path / "elsewhere" / "late_of_net.py").write_text(f"GAIN = {late}\n")
        late_import = CLASS.replace("return", "import late_of_net\n        return late_of_net.GAIN *")
        (tmp_path / "net.py").write_text(f"from constants_of_net import GAIN\n{late_import}")
        monkeypatch.delitem(sys.modules, "constants_of_net", raising=False)
        digests.add(source_digest(registry.models.get(f"{tmp_path / 'net.py'}:Net")))
    assert len(digests) == 3 and None not in digests


def test_what_else_of_a_package_is_loaded_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "package_of_net"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text("GAIN = 1\n")
    (package / "other.py").write_text("")
    (package / "net.py").write_text(f"from . import layers\nfrom package_of_net import layers as same\n{CLASS}")
    plugin = importlib.import_module("package_of_net.net").Net
    before = source_digest(plugin)
    importlib.import_module("package_of_net.other")
    assert before is not None and source_digest(plugin) == before
    for name in [name for name in sys.modules if name.startswith("package_of_net")]:
        monkeypatch.delitem(sys.modules, name)
    (package / "layers.py").write_text("GAIN = 2\n")
    assert source_digest(importlib.import_module("package_of_net.net").Net) not in {before, None}


LAYERS = """
import math
from torch import nn
from .shapes import GAIN

SLOPE = 0.1

def block(width: int, depth: int = 3, **options):
    if width < 0 and depth < 0:
        return None
    return nn.Sequential(*[nn.Linear(width, width, **{"bias": True, **options}) for _ in range(depth)][1:])
"""
MODEL = """
from torch import relu as bend
from uadbench.models.base import ReconstructionModel
from uadbench.types import Grid
from package_of_keys.layers import block
from package_of_keys import shapes

class Net(ReconstructionModel):
    def __init__(self, grid: Grid, width: int = 4) -> None:
        super().__init__(grid)
        self.block = block(width)

    def reconstruct(self, batch):
        from package_of_keys import late
        return bend(batch.images) * 2 - shapes.GAIN
"""
PACKAGE = {
    "__init__": "",
    "net": MODEL,
    "layers": LAYERS,
    "shapes": "GAIN = 1\n\ndef block(width):\n    return None\n",
    "late": "SLOW = 0\n",
}


def digest_of(files: dict[str, str], folder: Path, name: str = "package_of_keys") -> str:
    """The digest of `Net` in the module `NAME.net` of a package that has these modules and is loaded anew."""
    place = folder / name.replace(".", "/")
    place.mkdir(parents=True)
    for module, text in files.items():
        (place / f"{module}.py").write_text(text)
    sys.path.insert(0, str(folder))
    try:
        digest = source_digest(importlib.import_module(f"{name}.net").Net)
    finally:
        sys.path.remove(str(folder))
        for loaded in [loaded for loaded in sys.modules if loaded.startswith("package_of_")]:
            del sys.modules[loaded]
    assert digest is not None
    return digest


def changed(module: str, old: str, new: str) -> dict[str, str]:
    assert PACKAGE[module].count(old) == 1
    return {**PACKAGE, module: PACKAGE[module].replace(old, new)}


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("layers", "SLOPE = 0.1", "SLOPE = 0.1  # of a leaky unit"),
        ("layers", "SLOPE = 0.1", 'SLOPE = 0.1\n"""Of a leaky unit."""'),
        ("layers", "\nimport math", '"""Layers."""\n\nimport math'),
        ("net", "    def reconstruct(self, batch):", '    def reconstruct(self, batch):\n        """The images."""\n'),
        ("net", "class Net(ReconstructionModel):", 'class Net(ReconstructionModel):\n    """A net."""\n\n'),
        ("layers", "\n    return nn", "\n\n\n    return nn"),
        ("layers", "range(depth)][1:])", "range(depth)\n    ][1:],\n    )"),
        ("layers", "width < 0 and depth < 0", "(width < 0) and (depth < 0)"),
        ("layers", '"bias"', "'bias'"),
        ("layers", "0.1", "1e-1"),
        ("layers", "import math\nfrom torch import nn", "from torch import nn\nimport math"),
        ("layers", "from .shapes", "from package_of_keys.shapes"),
        ("net", "from package_of_keys import shapes", "import package_of_keys.shapes as shapes"),
        ("net", "from package_of_keys.layers import block\nfrom package_of_keys", "from .layers import block\nfrom ."),
    ],
)
def test_how_code_is_written_changes_nothing(module: str, old: str, new: str, tmp_path: Path) -> None:
    assert digest_of(changed(module, old, new), tmp_path / "new") == digest_of(PACKAGE, tmp_path / "old")


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("layers", "SLOPE = 0.1", "SLOPE = 0.2"),
        ("layers", "SLOPE = 0.1", "SLOPE = '0.1'"),
        ("layers", "width < 0 and", "width <= 0 and"),
        ("layers", "and", "or"),
        ("layers", "depth: int = 3", "depth: int = 4"),
        ("layers", "[1:]", "[:1]"),
        ("layers", '{"bias": True, **options}', '{**options, "bias": True}'),
        ("net", "super().__init__(grid)\n", "super().__init__(grid)\n        self.eval()\n"),
        ("net", "    def reconstruct", "    @property\n    def reconstruct"),
        ("net", "from torch import relu as bend", "from torch import sigmoid as bend"),
        ("net", "from torch import relu as bend", "from torch.nn.functional import relu as bend"),
        ("net", "keys.layers import block", "keys.shapes import block"),
        ("shapes", "GAIN = 1", "GAIN = 2"),
        ("late", "0", "1"),
    ],
)
def test_what_code_computes_changes_the_digest(module: str, old: str, new: str, tmp_path: Path) -> None:
    assert digest_of(changed(module, old, new), tmp_path / "new") != digest_of(PACKAGE, tmp_path / "old")


def test_a_package_may_be_moved_and_renamed(tmp_path: Path) -> None:
    moved = {name: text.replace("package_of_keys", "package_of_moved.inner") for name, text in PACKAGE.items()}
    before = digest_of(PACKAGE, tmp_path / "old")
    assert digest_of(moved, tmp_path / "new", "package_of_moved.inner") == before


SHOW = """
import importlib, json
from uadbench.models.source import source_digest
print(json.dumps([source_digest(getattr(importlib.import_module(module), name)) for module, name in MODELS]))
"""


def test_modules_of_uadbench_may_be_moved(tmp_path: Path) -> None:
    models = (VAE3D, VQVAE3D, ZScore)
    moves = {
        VAE3D.__module__: "uadbench.models.variational.vae",
        Decoder.__module__: "uadbench.models.parts.convolution",
        Model.__module__: "uadbench.models.contract",
        Grid.__module__: "uadbench.data.kinds",
    }
    package = Path(uadbench.__file__).parent
    shutil.copytree(package, tmp_path / "uadbench", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (tmp_path / "uadbench").rglob("*.py"):
        file.write_text(re.sub(rf"\b({'|'.join(moves)})\b", lambda found: moves[found[1]], file.read_text()))
    for old, new in moves.items():
        target = tmp_path / f"{new.replace('.', '/')}.py"
        target.parent.mkdir(exist_ok=True)
        (tmp_path / f"{old.replace('.', '/')}.py").rename(target)
    places = [(moves.get(model.__module__, model.__module__), model.__name__) for model in models]
    run = [sys.executable, "-B", "-c", f"MODELS = {places!r}\n{SHOW}"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [source_digest(model) for model in models]


def test_every_version_of_python_reduces_code_alike() -> None:
    """Later versions have more fields in their trees; the digest is that of Python 3.11."""
    code = """
@wrap
class A(B, key=1):
    x: int = 0
    async def f(self, *a, b=None, **c): return f'{a!r:>{b}} \xe9' 'end'
with open('x') as y, z: del y[1:, ::2]
try: x = {**a, 'k': b'\\0', None: 1e400j, ...: -1}
except* E as e: raise X from e
match y:
    case {'a': [1, *_], **rest} if rest: lambda x, /, y=1: x
"""
    assert reduced(code.encode(), "").digest == "356fedda18cb19d82cbc8a8f0e6dfe4457fe4f3d9e4d7714202beb726c98b4c5"


def test_the_names_that_imports_bind_count_where_they_are_bound() -> None:
    code = b"import a\ndef f():\n    from b import g as h, k\n    from .c import *\n"
    again = b"from x import a\ndef f():\n    from y import k\n    from .z import *\n    from y import g as h\n"
    assert reduced(code, "p.q").imports == (("a", ""), ("p.q.c", "*"), ("b", "g"), ("b", "k"))
    assert reduced(again, "p").imports == (("x", "a"), ("p.z", "*"), ("y", "g"), ("y", "k"))
    assert reduced(code, "p").digest == reduced(again, "p").digest
    assert reduced(code, "p").digest != reduced(b"import a\nfrom b import g as h, k\ndef f(): pass\n", "p").digest
    assert reduced(b"from a import x\nfrom b import x\n", "") != reduced(b"from b import x\nfrom a import x\n", "")


@pytest.mark.parametrize("code", [b"def", b"\0\1", b"  x = (", b"  x = 1\ny = 2", b"x = " + b"(" * 1000 + b")" * 1000])
def test_what_cannot_be_parsed_counts_as_it_is(code: bytes) -> None:
    assert reduced(code, "") != reduced(code + b" ", "")


def test_deep_nesting_is_no_obstacle() -> None:
    code = b"x = " + b" + ".join([b"1"] * 900)
    assert reduced(code, "") == reduced(code.replace(b" ", b""), "") != reduced(code + b" + 1", "")


def test_the_family_of_a_class_changes_nothing() -> None:
    plain = reduced(b"class A:\n    rate = 1\n", "")
    for family in (b"family = 'linear'", b"family: ClassVar[str] = ''"):
        assert reduced(b"class A:\n    rate = 1\n    " + family + b"\n", "") == plain
    assert reduced(b"class A:\n    rate = 1\n    family = rate = 2\n", "") != plain
    assert reduced(b"rate = 1\n", "") != reduced(b"rate = 1\nfamily = 2\n", "")
