"""The reference of `result.json`, from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from markdown_text import code, escaped, paragraphs, table


def schema_page() -> str:
    """A section for the result itself and one for each of its parts."""
    schema = json.loads(files("uadbench.results").joinpath("result.schema.json").read_text(encoding="utf-8"))
    parts = [_section("Result", schema)]
    parts += [_section(name, part) for name, part in schema["$defs"].items() if "properties" in part]
    return "\n\n".join(parts) + "\n"


def _section(name: str, part: Mapping[str, Any]) -> str:
    required = part.get("required", [])
    rows = [
        [code(field), _type(content), "" if field in required else "optional", escaped(content.get("description", ""))]
        for field, content in part["properties"].items()
    ]
    return "\n\n".join(
        [f"## {name}", paragraphs(part.get("description", "")), table(["field", "type", "", "meaning"], rows)]
    )


def _type(content: Mapping[str, Any]) -> str:
    """The type of a field in words; a part of the result links to its section."""
    if "$ref" in content:
        name = content["$ref"].rpartition("/")[2]
        return "any JSON" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    if "anyOf" in content:
        return " or ".join(_type(each) for each in content["anyOf"])
    if "enum" in content or "const" in content:
        return " or ".join(code(json.dumps(value)) for value in content.get("enum", [content.get("const")]))
    kind = str(content.get("type", "any"))
    if kind == "array":
        inner = content.get("items") or next(iter(content.get("prefixItems", [])), {})
        return f"array of {_type(inner)}"
    if kind == "object" and isinstance(content.get("additionalProperties"), dict):
        return f"object of {_type(content['additionalProperties'])}"
    return kind
