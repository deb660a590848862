"""Nothing in the tree runs what lies in a data file: no pickle, no eval, no shell, no archive that unpacks itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PARTS = ("uadbench", "benchmarks", "tests", ".ci")

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas.read_pickle"}
PARSERS = {"xml", "lxml", "xmlrpc"}
"""Modules that must not be imported: they run what they read, or read XML, whose entities fill the memory."""

RUN = {
    *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "builtins.compile"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
    *("runpy.run_path", "shutil.unpack_archive", "torch.hub.load", "pandas.read_pickle", "markupsafe.Markup"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"),
}
"""What must not be called, by its whole name."""

METHODS = {"extractall", "read_pickle", "to_pickle", "exec_module", "create_subprocess_shell"}
"""What must not be called, whatever it is called on."""

ALLOWED = {
    ("uadbench/registry.py", "exec_module"): "a plugin in a file, which the user names: plugins are code, and trusted",
    ("tests/metrics/test_compiling.py", "exec_module"): "a module that the test writes, loaded as by another process",
    ("tests/runtime/test_shipped.py", "exec_module"): "a copy of a module of uadbench, as in an installation",
    ("tests/models/test_weights_file.py", "exec"): "the line that users are told to convert a pickle with",
    ("tests/runs/test_identity.py", "exec"): "the runs of a notebook, as a kernel runs them",
    ("tests/runs/test_identity.py", "compile"): "the same",
    ("tests/models/test_source.py", "exec"): "a class whose source nobody can find",
    ("tests/faults/processes.py", "exec"): "what a test does to the process that it is about to kill",
    ("uadbench/leaderboard/render.py", "markupsafe.Markup"): "the page's own style and script",
    ("uadbench/report/template.py", "markupsafe.Markup"): "rendered templates, which escape, and shipped sources",
    ("uadbench/report/exhibit.py", "markupsafe.Markup"): "the type of a rendered viewer",
    ("uadbench/report/page.py", "markupsafe.Markup"): "the same",
    ("uadbench/report/viewer.py", "markupsafe.Markup"): "the same",
    ("uadbench/cli/new.py", "jinja2.Environment"): "writes Python, where nothing is to be escaped",
}


def faults(source: str) -> list[str]:
    """What a source does that it must not, in the order of its lines."""
    tree = ast.parse(source)
    names = _imported(tree)
    found = [(node.lineno, name) for node, name in _imports(tree) if _is_below(name, PICKLES | PARSERS)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += [(node.lineno, fault) for fault in _faults_of(node, names)][:1]
        elif isinstance(node, ast.Name | ast.Attribute) and _dotted(node, names) == "markupsafe.Markup":
            found.append((node.lineno, "markupsafe.Markup"))
    return [name for _, name in sorted(dict.fromkeys(found))]


def _faults_of(call: ast.Call, names: dict[str, str]) -> Iterator[str]:
    """The name of what is called, if it must not be called so."""
    name = _dotted(call.func, names)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    method = call.func.attr if isinstance(call.func, ast.Attribute) else name.rpartition(".")[2]
    if name in RUN:
        yield name
    if method in METHODS:
        yield method
    if name in ("torch.load", "torch.serialization.load") and not _is(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield "allow_pickle"
    if name == "numpy.load" and len(call.args) > 2:
        yield "allow_pickle"
    if "shell" in given and not _is(given["shell"], False):
        yield "shell=True"
    if name in ("jinja2.Environment", "jinja2.Template"):
        escaped = given.get("autoescape")
        if escaped is None or _is(escaped, False):
            yield name


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`np.load` as numpy.load; "" for what is no plain name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, names)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _imported(tree: ast.AST) -> dict[str, str]:
    """What names mean after all imports, wherever these stand."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def _is_below(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def test_the_tree_runs_no_data() -> None:
    found: set[tuple[str, str]] = set()
    files = [file for part in PARTS for file in sorted((REPOSITORY / part).rglob("*.py"))]
    for file in files:
        where = file.relative_to(REPOSITORY).as_posix()
        found |= {(where, fault) for fault in faults(file.read_text(encoding="utf-8"))}
    assert len(files) > 200
    assert found - set(ALLOWED) == set()
    assert set(ALLOWED) - found == set(), "an exception that nothing needs"


def test_scripts_run_nothing_that_they_fetch() -> None:
    (script,) = [file for file in (REPOSITORY / ".ci").iterdir() if file.suffix != ".py"]
    lines = script.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.search(r"\beval\b", line)] == ['eval "$install --quiet"'], "the README's line"
    assert not [line for line in lines if re.search(r"\|\s*(ba)?sh\b|\bcurl\b|\bwget\b|pickle|joblib", line)]


BAD = {
    "import pickle": "pickle",
    "import os, pickle as p": "pickle",
    "def f():\n    import cPickle": "cPickle",
    "from pickle import loads": "pickle.loads",
    "import dill": "dill",
    "import cloudpickle": "cloudpickle",
    "from joblib import load": "joblib.load",
    "import joblib.externals": "joblib.externals",
    "import shelve": "shelve",
    "from pandas import read_pickle": "pandas.read_pickle",
    "import pandas as pd\npd.read_pickle('x')": "pandas.read_pickle",
    "frame.to_pickle('x')": "to_pickle",
    "import torch\ntorch.load('x')": "torch.load without weights_only=True",
    "import torch as t\nt.load('x', weights_only=False)": "torch.load without weights_only=True",
    "import torch\ntorch.load('x', weights_only=safe)": "torch.load without weights_only=True",
    "from torch import load as get\nget('x')": "torch.load without weights_only=True",
    "import torch\ntorch.serialization.load('x')": "torch.load without weights_only=True",
    "import torch\ntorch.hub.load('x')": "torch.hub.load",
    "import yaml\nyaml.load(text)": "yaml.load",
    "from yaml import unsafe_load\nunsafe_load(text)": "yaml.unsafe_load",
    "eval('1')": "eval",
    "exec('1')": "exec",
    "compile('1', '', 'exec')": "compile",
    "import builtins as b\nb.eval('1')": "builtins.eval",
    "spec.loader.exec_module(module)": "exec_module",
    "import runpy\nrunpy.run_path('x')": "runpy.run_path",
    "import numpy as np\nnp.load('x', allow_pickle=True)": "allow_pickle",
    "import numpy as np\nnp.load('x', None, True)": "allow_pickle",
    "import numpy as np\nnp.save('x', y, allow_pickle=yes)": "allow_pickle",
    "import subprocess\nsubprocess.run('x', shell=True)": "shell=True",
    "from subprocess import Popen\nPopen('x', shell=wanted)": "shell=True",
    "import subprocess\nsubprocess.getoutput('x')": "subprocess.getoutput",
    "import os\nos.system('x')": "os.system",
    "from os import system as run\nrun('x')": "os.system",
    "import os\nos.popen('x')": "os.popen",
    "import tarfile\ntarfile.open('x').extractall()": "extractall",
    "with zipfile.ZipFile('x') as z:\n    z.extractall('y', filter='data')": "extractall",
    "import shutil\nshutil.unpack_archive('x')": "shutil.unpack_archive",
    "from xml.etree import ElementTree": "xml.etree.ElementTree",
    "import xml.sax": "xml.sax",
    "import lxml.etree": "lxml.etree",
    "import jinja2\njinja2.Environment(loader=x)": "jinja2.Environment",
    "from jinja2 import Environment as E\nE(autoescape=False)": "jinja2.Environment",
    "from jinja2 import Template\nTemplate('x')": "jinja2.Template",
    "from markupsafe import Markup\nMarkup(name)": "markupsafe.Markup",
}


@pytest.mark.parametrize("source", BAD)
def test_each_is_found(source: str) -> None:
    assert faults(source) == [BAD[source]]


@pytest.mark.parametrize(
    "source",
    [
        '"""Never pickle.load, nor eval(this)."""',
        "model.eval()",
        "import re\nre.compile('x')",
        "import ast\nast.literal_eval('1')",
        "import torch\ntorch.load('x', weights_only=True)",
        "import numpy as np\nnp.load('x', allow_pickle=False)\nnp.load('x')",
        "import json\njson.load(handle)",
        "import subprocess\nsubprocess.run(['x'], shell=False)",
        "from jinja2 import Environment, select_autoescape\nEnvironment(autoescape=select_autoescape(['html']))",
        "from safetensors.torch import load\nload(content)",
        "import yaml\nyaml.safe_load(text)",
    ],
)
def test_what_is_harmless(source: str) -> None:
    assert faults(source) == []
