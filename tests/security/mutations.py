"""Damage that is drawn: sound files, and what becomes of them."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

from hypothesis import strategies as st

HUGE = [0, -1, 1, 255, 2**15, 2**31 - 1, -(2**31), 2**31, 2**53 + 1, 2**63 - 1, 2**64, 10**18, 10**400]
TEXTS = [
    "",
    "\0",
    "\n",
    "\t",
    '"',
    "'",
    "\\",
    "../../x",
    "~root/x",
    "~nobody-here/x",
    "/dev/zero",
    "n/a",
    "é",
    "\u202e",
    "💀",
    "x" * 5000,
]
SPELLED = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-0.0",
    "9" * 5000,
    '"\\ud800"',
    "[" * 5000,
    '{"a":' * 5000,
    "tru",
    "1_0",
]
"""JSON that Python would not write, or nobody would."""

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.sampled_from(HUGE) | st.floats() | st.sampled_from(TEXTS) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

PLACEHOLDER = "@here@"


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """The bytes with a few of them flipped, cut out, put in, doubled or moved."""
    raw = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(raw)))
        length = draw(st.sampled_from([1, 1, 2, 4, 8, 64, len(raw)]))
        kind = draw(st.sampled_from(["flip", "set", "insert", "cut", "double", "end"]))
        if kind == "flip" and place < len(raw):
            raw[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            raw[place : place + length] = draw(st.sampled_from([b"\0", b"\xff", b"\x80", b"\n", b"9", b"["])) * min(
                length, 64
            )
        elif kind == "insert":
            raw[place:place] = draw(st.binary(max_size=16) | st.sampled_from([text.encode() for text in TEXTS]))
        elif kind == "cut":
            del raw[place : place + length]
        elif kind == "double":
            raw[place:place] = raw[place : place + min(length, 4096)]
        elif kind == "end":
            del raw[place:]
    return bytes(raw)


@st.composite
def nifti(draw: st.DrawFn, sound: bytes, fields: dict[str, tuple[Any, int]], packed: bool) -> bytes:
    """A NIfTI file with fields of its header at their extremes, or damaged, or both; packed before or after."""
    raw = bytearray(sound)
    for _ in range(draw(st.integers(0, 3))):
        dtype, offset = fields[draw(st.sampled_from(sorted(fields)))]
        raw[offset : offset + dtype.itemsize] = draw(
            st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize) | extremes(dtype)
        )
    made = bytes(raw) if draw(st.booleans()) else draw(damaged(bytes(raw)))
    if packed:
        made = gzip.compress(made, 1, mtime=0)
        made = made if draw(st.booleans()) else draw(damaged(made))
    return made


def extremes(dtype: Any) -> st.SearchStrategy[bytes]:
    """Numbers that a field can hold and nobody means, all its places alike."""
    import numpy as np

    base, count = dtype.base, dtype.itemsize // dtype.base.itemsize
    if base.kind in "iu":
        low, high = int(np.iinfo(base).min), int(np.iinfo(base).max)
        numbers = [n for n in (low, -1, 0, 1, 2, 3, 7, 8, 99, 512, 16384, high) if low <= n <= high]
    elif base.kind == "f":
        numbers = [0.0, -1.0, 1.0, 1e-30, 1e18, 3e38, float("nan"), float("inf"), float("-inf")]
    else:
        return st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize)
    return st.sampled_from([np.full(count, number, dtype=base).tobytes() for number in numbers])


@st.composite
def tables(draw: st.DrawFn, sound: str) -> bytes:
    """A table with other runs, rows and columns, or damaged."""
    rows = [line.split("\t") for line in sound.splitlines()]
    for _ in range(draw(st.integers(0, 4))):
        row = draw(st.sampled_from(rows))
        place = draw(st.integers(0, max(len(row) - 1, 0)))
        kind = draw(st.sampled_from(["run", "run", "more", "less", "again"]))
        if kind == "run" and row:
            row[place] = draw(
                st.sampled_from(TEXTS + SPELLED) | st.text(max_size=6) | st.sampled_from(rows[0] + rows[-1])
            )
        elif kind == "more":
            row.insert(place, draw(st.text(max_size=3)))
        elif kind == "less" and row:
            del row[place]
        else:
            rows.append(list(row))
    raw = "\n".join("\t".join(row) for row in rows).encode("utf-8", "replace")
    return raw if draw(st.booleans()) else draw(damaged(raw))


@st.composite
def documents(draw: st.DrawFn, sound: Any) -> bytes:
    """A JSON document with anything in any place, a key twice, or damaged."""
    content = json.loads(json.dumps(sound))
    inside, key = content, draw(st.sampled_from(sorted(content)))
    while isinstance(inside[key], dict | list) and inside[key] and draw(st.integers(0, 3)):
        inside = inside[key]
        key = draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
    spelled = draw(st.sampled_from(SPELLED)) if draw(st.booleans()) else json.dumps(draw(ANY_JSON))
    kind = draw(st.sampled_from(["value", "value", "gone", "key", "twice", "bytes"]))
    if kind == "value":
        inside[key] = PLACEHOLDER
    elif kind == "gone":
        del inside[key]
    elif kind == "key" and isinstance(inside, dict):
        inside[draw(st.sampled_from(TEXTS) | st.text(max_size=5))] = PLACEHOLDER
    text = json.dumps(content).replace(f'"{PLACEHOLDER}"', spelled)
    if kind == "twice" and isinstance(inside, dict):
        text = f"{text[:-1]}, {json.dumps(key)}: {spelled}}}"
    raw = text.encode("utf-8", "surrogatepass")
    return draw(damaged(raw)) if kind == "bytes" else raw


TOML = [
    *(
        "9" * 5000,
        "-1",
        "0",
        "1e999",
        "nan",
        "inf",
        "''",
        '"\\u0000"',
        "[]",
        "{}",
        "[" * 3000,
        "{a=" * 3000,
        "1979-05-27",
        "true",
    ),
    *(
        "25:61:00",
        "0x" + "f" * 3000,
        "[1, 'a', 2.5]",
        '"""',
        "99999999999",
        "[1, 1, 1]",
        "'../../x'",
        "1_0",
        "+",
        "0o9",
    ),
]


@st.composite
def protocols(draw: st.DrawFn, sound: str) -> bytes:
    """A protocol with other values, keys and lines, or damaged."""
    lines = sound.splitlines()
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["value", "value", "key", "line", "again", "gone"]))
        value = draw(st.sampled_from(TOML) | st.text(max_size=6))
        if kind == "value":
            lines[place] = re.sub("=.*", lambda _: f"= {value}", lines[place])  # noqa: B023
        elif kind == "key":
            lines[place] = re.sub(r"^\w+", lambda _: value, lines[place])  # noqa: B023
        elif kind == "line":
            lines.insert(
                place, draw(st.sampled_from(["[grid]", "[[grid]]", "[a.b]", ".".join("a" * 500) + " = 1", "x = 1"]))
            )
        elif kind == "again":
            lines.insert(place, lines[place])
        elif len(lines) > 1:
            del lines[place]
    raw = "\n".join(lines).encode("utf-8", "replace")
    return raw if draw(st.booleans()) else draw(damaged(raw))
