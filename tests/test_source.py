"""What a model's code is, wherever it was written: in files, in a notebook, at a prompt, or in a string."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from uadbench import registry
from uadbench.source import source_digest

KERNEL = """
import json, linecache, os, pathlib, sys
from uadbench.source import source_digest

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
    "imports": "import functools, math\nimport numpy as np, torch\nfrom torch import nn\n"
    "from uadbench import ReconstructionModel, register_model\nimport near_notebook\n",
    "constants": "GAIN = 0.5\nTABLE = {'a': [1.0, (2, 3)]}\nPRIOR = torch.ones(3)\nARRAY = np.ones(3)\nUNUSED = 1\n",
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
    "    def losses(self, batch):\n        def closer():\n            return net(batch.images)\n"
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
    files = {"near_notebook": NEAR, "near_constant": "RATE = 1\n", "near_lazy": "\n"}
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
}
LOST = {
    "GAIN = 0.5": "GAIN = object()",
    "twice = lambda x: 2 * x": "exec('def twice(x): return 2 * x')",
    "PRIOR = torch.ones(3)": "PRIOR = torch.ones(3, device='meta')",
}


def test_a_model_of_a_notebook_is_known_by_all_cells_that_it_uses(tmp_path: Path) -> None:
    near = [{"near_notebook": f"{NEAR}# changed\n"}, {"near_constant": "RATE = 2\n"}, {"near_lazy": "SLOW = 1\n"}]
    changed = [edited(old, new) for old, new in USED.items()]
    lost = [edited(old, new) for old, new in LOST.items()]
    known, again, *found = digests([CELLS, CELLS, *lost, *changed], tmp_path, near)
    assert known is not None and known == again
    assert found[: len(lost)] == [None] * len(lost)
    labels = [*USED, *(next(iter(files)) for files in near)]
    same = [label for label, digest in zip(labels, found[len(lost) :], strict=True) if digest in {known, None}]
    assert not same
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


@pytest.mark.parametrize("arguments", [["-"], ["-i"], ["-c", CLASS + "print(SHOW(Net))"]])
def test_standard_input_and_a_command_crash_nothing(arguments: list[str], tmp_path: Path) -> None:
    shown = "from uadbench.source import source_digest as SHOW\n"
    run = [sys.executable, "-B", *(shown + part if part.startswith("from") else part for part in arguments)]
    code = f"{shown}{CLASS}\nprint(SHOW(Net))\n"
    done = subprocess.run(run, input=code, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    (found,) = done.stdout.split()
    assert (found == "None") is (sys.version_info < (3, 13)), "Python keeps these lines since 3.13"


def test_a_script_and_a_module_in_an_archive_are_known(tmp_path: Path) -> None:
    script = f"{CLASS}from uadbench.source import source_digest\nprint(source_digest(Net))\n"
    (tmp_path / "script.py").write_text(script)
    with zipfile.ZipFile(tmp_path / "nets.zip", "w") as archive:
        archive.writestr("zipped.py", CLASS)
    zipped = "import sys; sys.path.insert(0, 'nets.zip'); from zipped import Net\n"
    zipped += "from uadbench.source import source_digest; print(source_digest(Net))"
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
