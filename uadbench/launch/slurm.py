"""Parsing of the `--slurm` option, and its translation into directives of a job script."""

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
"""`memory=none`: the job requests no memory, for clusters that allocate memory with cores."""

_SAFE = re.compile(r"[\w.,:;=+@%/&|()\[\]!*~-]+", re.ASCII)
"""Allowed values; they go into a shell script, so no spaces, quotes, `$`, backticks, `#` or redirections."""
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
    """Parse the options of a Slurm job.

    Args:
        text: Options such as `partition=gpu,gpus=1,time=4h`; `extra` may be repeated.

    Returns:
        The options; values of several `extra` are joined with `;`.

    Raises:
        InputError: If an option is unknown or a value is invalid.
    """
    options: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise InputError(f"--slurm {text}: '{part}' is not KEY=VALUE; example: {EXAMPLE}")
        if key not in SLURM_KEYS:
            raise InputError(f"--slurm {text}: unknown option '{key}'; {did_you_mean(key, list(SLURM_KEYS))}")
        if any(c.isspace() for c in value):
            raise InputError(f"--slurm {text}: '{value}' contains a space; remove it")
        if not _SAFE.fullmatch(value) or (";" in value and key != "extra"):
            raise InputError(f"--slurm {text}: '{value}' contains a character that is not allowed in a job script")
        options[key] = f"{options[key]};{value}" if key == "extra" and key in options else value
    _require_sound(text, options)
    return options


def directives(options: Mapping[str, str]) -> list[str]:
    """The options for which dask_jobqueue has no argument, as directives of sbatch."""
    lines = [f"--{key}={options[key]}" for key in ("qos", "constraint", "gres") if key in options]
    if int(options.get("gpus", "0")):
        lines.append(f"--gres=gpu:{options['gpus']}")
    if "mem-per-cpu" in options:
        lines.append(f"--mem-per-cpu={options['mem-per-cpu'].upper().removesuffix('B').removesuffix('I')}")
    return [*lines, *filter(None, options.get("extra", "").split(";"))]


def has_gpu(options: Mapping[str, str]) -> bool:
    """Whether a job with these options gets a GPU."""
    requests = [options.get("gres", ""), *options.get("extra", "").replace("=", ":").split(";")]
    return options.get("gpus", "0") != "0" or any("gpu" in part.split(":") for part in requests)


def asks_for_memory(options: Mapping[str, str]) -> bool:
    """Whether the job requests a total amount of memory (`--mem`)."""
    return options.get("memory") != NO_MEMORY and "mem-per-cpu" not in options


def _require_sound(text: str, options: Mapping[str, str]) -> None:
    """Raises InputError for values of the wrong form, and for options that exclude each other."""
    for key in ("cpus", "gpus"):
        if key in options and not options[key].isdecimal():
            raise InputError(f"--slurm {text}: {key} must be a number, not '{options[key]}'")
    if "time" in options:
        seconds_of("--slurm time", options["time"])
    for key in ("memory", "mem-per-cpu"):
        value = options.get(key, "1GB")
        if not _MEMORY.fullmatch(value) and (key, value) != ("memory", NO_MEMORY):
            none = ", or none" if key == "memory" else ""
            raise InputError(f"--slurm {text}: {key} must be a size such as 32GB{none}, not '{value}'")
    for one, other in (("gpus", "gres"), ("memory", "mem-per-cpu")):
        if one in options and other in options and options[one] != NO_MEMORY:
            raise InputError(f"--slurm {text}: {one} and {other} request the same resource; give only one of them")
    for directive in filter(None, options.get("extra", "").split(";")):
        name = directive.partition("=")[0]
        if not _DIRECTIVE.fullmatch(directive):
            raise InputError(f"--slurm {text}: extra must be a directive of sbatch, such as extra=--gres=gpu:1")
        if name in _BREAKING:
            raise InputError(f"--slurm {text}: {name} is set by uadbench; leave it out")
        if name in _OURS:
            raise InputError(f"--slurm {text}: write {_OURS[name]}=... instead of extra={name}")
