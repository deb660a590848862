"""Options of a Slurm job as a user writes them, and the directives of its script that they become."""

from __future__ import annotations

import re
from collections.abc import Mapping

from uadbench.errors import InputError
from uadbench.registry import did_you_mean
from uadbench.runtime.timeouts import seconds_of

SLURM_KEYS = (
    *("partition", "time", "cpus", "gpus", "gres", "memory", "mem-per-cpu"),
    *("account", "qos", "constraint", "extra"),
)
EXAMPLE = "partition=gpu,gpus=1,time=4h"
NO_MEMORY = "none"
"""`memory=none`: the job asks for no memory, on clusters that hand it out with cores."""

_SAFE = re.compile(r"[\w.,:;=+@%/&|()\[\]!*~-]+", re.ASCII)
"""Values go into a shell script: no blank, quote, `$`, backtick, `#` or redirection."""
_DIRECTIVE = re.compile(r"--[a-z][a-z0-9-]*(=.+)?")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGT])i?B?", re.IGNORECASE)
_OURS = {
    "--partition": "partition",
    "--time": "time",
    "--cpus-per-task": "cpus",
    "--mem": "memory",
    "--mem-per-cpu": "mem-per-cpu",
    "--account": "account",
    "--qos": "qos",
    "--constraint": "constraint",
}
_BREAKING = ("--array", "--wrap", "--ntasks", "--nodes", "--output", "--error", "--wait", "--test-only", "--parsable")


def parse_slurm(text: str) -> dict[str, str]:
    """`partition=gpu,gpus=1,time=4h` as options of a job; several `extra` are joined with `;`.

    Raises:
        InputError: For what is none, or would not be one line of a script.
    """
    options: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise InputError(f"--slurm {text}: '{part}' is no option; write {EXAMPLE}")
        if key not in SLURM_KEYS:
            raise InputError(f"--slurm {text}: no option is called '{key}'; {did_you_mean(key, list(SLURM_KEYS))}")
        if any(c.isspace() for c in value):
            raise InputError(f"--slurm {text}: '{value}' has a space in it")
        if not _SAFE.fullmatch(value) or (";" in value and key != "extra"):
            raise InputError(f"--slurm {text}: '{value}' holds what a job script would not take as a value")
        options[key] = f"{options[key]};{value}" if key == "extra" and key in options else value
    _require_sound(text, options)
    return options


def directives(options: Mapping[str, str]) -> list[str]:
    """The directives for which dask_jobqueue has no argument of its own."""
    found = [f"--{key}={options[key]}" for key in ("qos", "constraint", "gres") if key in options]
    if int(options.get("gpus", "0")):
        found.append(f"--gres=gpu:{options['gpus']}")
    if "mem-per-cpu" in options:
        found.append(f"--mem-per-cpu={options['mem-per-cpu'].upper().removesuffix('B').removesuffix('I')}")
    return [*found, *filter(None, options.get("extra", "").split(";"))]


def has_gpu(options: Mapping[str, str]) -> bool:
    """Whether a job of these options gets a GPU."""
    asked = [options.get("gres", ""), *options.get("extra", "").replace("=", ":").split(";")]
    return options.get("gpus", "0") != "0" or any("gpu" in part.split(":") for part in asked)


def asks_for_memory(options: Mapping[str, str]) -> bool:
    """Whether the job says how much memory it needs as a whole (`--mem`)."""
    return options.get("memory") != NO_MEMORY and "mem-per-cpu" not in options


def _require_sound(text: str, options: Mapping[str, str]) -> None:
    """Raises InputError for a value of another form, and for two options that say the same."""
    for key in ("cpus", "gpus"):
        if key in options and not options[key].isdecimal():
            raise InputError(f"--slurm {text}: {key} is a number, not '{options[key]}'")
    if "time" in options:
        seconds_of("--slurm time", options["time"])
    for key in ("memory", "mem-per-cpu"):
        value = options.get(key, "1GB")
        if not _MEMORY.fullmatch(value) and (key, value) != ("memory", NO_MEMORY):
            none = ", or none" if key == "memory" else ""
            raise InputError(f"--slurm {text}: {key} is a size such as 32GB{none}, not '{value}'")
    for one, other in (("gpus", "gres"), ("memory", "mem-per-cpu")):
        if one in options and other in options and options[one] != NO_MEMORY:
            raise InputError(f"--slurm {text}: {one} and {other} ask for the same; give one of them")
    for directive in filter(None, options.get("extra", "").split(";")):
        name = directive.partition("=")[0]
        if not _DIRECTIVE.fullmatch(directive):
            raise InputError(f"--slurm {text}: extra holds directives of sbatch, as in extra=--gres=gpu:1")
        if name in _BREAKING:
            raise InputError(f"--slurm {text}: {name} is for uadbench to set; leave it out")
        if name in _OURS:
            raise InputError(f"--slurm {text}: write {_OURS[name]}=... instead of extra={name}")
