"""The reference of the command line, from the same declarations as `uadbench COMMAND --help`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from markdown_text import code, escaped, paragraphs, table

from uadbench.cli.main import app


def commands(command: Any = None, path: str = "uadbench") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    command = typer.main.get_command(app) if command is None else command
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from commands(child, f"{path} {name}")


def commands_page() -> str:
    """A section per command: what it does, its arguments and its options."""
    return "\n\n".join(_section(path, command) for path, command in commands()) + "\n"


def _section(path: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join([path, *(_placeholder(each) for each in arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"## {path}", paragraphs(command.help), f"```text\n{usage}\n```"]
    if arguments:
        parts.append(table(["argument", "meaning"], [[code(_placeholder(each)), _meaning(each)] for each in arguments]))
    if options:
        rows = [[_names(each), _meaning(each), _default(each)] for each in options]
        parts.append(table(["option", "meaning", "default"], rows))
    return "\n\n".join(parts)


def _placeholder(argument: Any) -> str:
    name = str(argument.name).upper()
    name = name if argument.required else f"[{name}]"
    return f"{name}..." if argument.nargs == -1 else name


def _names(option: Any) -> str:
    """All spellings of an option; the last is followed by a placeholder for its value, unless it is a flag."""
    *others, last = sorted([*option.opts, *option.secondary_opts], key=len)
    value = "" if getattr(option, "is_flag", False) else f" {last.lstrip('-').replace('-', '_').upper()}"
    return ", ".join(code(name) for name in [*others, f"{last}{value}"])


def _meaning(parameter: Any) -> str:
    return escaped(parameter.help or "")


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if getattr(option, "is_flag", False) or option.default in (None, "", (), []) or callable(option.default):
        return ""
    return code(option.default)
