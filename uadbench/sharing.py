"""What may leave the machine: a result with its scores, in which nobody can be found who is not a hash."""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import platformdirs
from pydantic import JsonValue

from uadbench import analysis
from uadbench.errors import InputError, Unfinished
from uadbench.metrics.subject import Threshold
from uadbench.protocol import stored_protocol
from uadbench.reading import read_json
from uadbench.results import PEOPLE, Result, read_result, write_result
from uadbench.scores import SCORES, by_testset, read_scores, read_scores_of, write_table
from uadbench.store import LARGEST_SEALED, file_name
from uadbench.types import VARIED

SALT_BYTES = 32
SHORTEST = 4
"""An id, with or without its `sub-`, is looked for if it has so many characters; a shorter one is in every text."""


def salt_file(cohort: str) -> Path:
    """Where the secret of a cohort is kept: in the user's data folder, or in UADBENCH_SALTS."""
    chosen = os.environ.get("UADBENCH_SALTS")
    folder = Path(chosen) if chosen else Path(platformdirs.user_data_dir("uadbench", appauthor=False)) / "salts"
    return folder / f"{file_name(cohort)}.salt"


def salt(cohort: str) -> bytes:
    """The secret of a cohort, made when it is first needed. Who loses it loses the pairing with earlier results.

    Raises InputError for a damaged file, Unfinished if none can be written.
    """
    file = salt_file(cohort)
    try:
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=file.parent, encoding="ascii") as made:  # for the owner alone
                made.write(secrets.token_hex(SALT_BYTES) + "\n")
                made.flush()
                with contextlib.suppress(FileExistsError):  # another process was faster: there is one secret
                    os.link(made.name, file)
        content = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except OSError as error:
        raise Unfinished(f"{file}: cannot keep the cohort's secret ({error.strerror}); set UADBENCH_SALTS") from None
    except ValueError:
        content = b""
    if len(content) != SALT_BYTES:
        raise InputError(f"{file}: is damaged; put the cohort's secret back (a new one breaks the pairing of results)")
    return content


def pseudonym(secret: bytes, kind: str, text: str, digits: int = 16) -> str:
    """A name that only the owner of the secret can make: HMAC-SHA256 (RFC 2104) of what it stands for."""
    return f"{kind}-{hmac.digest(secret, f'{kind}:{text}'.encode(), 'sha256').hex()[:digits]}"


def shareable(folder: Path) -> tuple[Result, pd.DataFrame]:
    """Result and scores of a run folder with participants, sessions and sites of a private cohort as hashes.

    Rows are sorted by hash, for their order would tell; so every interval, which depends on it, is computed again.
    Those of a public cohort stay as they are.

    Raises InputError if the run folder does not hold what the result was made with.
    """
    result = read_result(folder)
    table = read_scores_of(result, folder / SCORES)
    if result.cohort.public:
        return result, table
    protocol = stored_protocol(folder, result.protocol.name)
    if protocol.hash != result.protocol.hash:
        raise InputError(f"{folder}: its protocol.json is not the protocol of its result; run again")
    secret = salt(result.cohort.tested_on or result.cohort.name)
    people, visits = table["participant_id"].astype(str), table["session_id"].astype(str)
    hidden = table.assign(
        participant_id=[pseudonym(secret, "anon", name) for name in people],
        session_id=[pseudonym(secret, "ses", f"{name} {visit}") for name, visit in zip(people, visits, strict=True)],
        site=[pseudonym(secret, "site", name, 4) if isinstance(name, str) and name else name for name in table["site"]],
    )
    place = {key: number for number, (key, _) in enumerate(by_testset(table))}  # test sets keep their order
    testsets = zip(table["anomaly"], table["severity"], strict=True)
    hidden["place"] = [place[name, None if name == VARIED else severity] for name, severity in testsets]
    hidden = hidden.sort_values(["place", "participant_id", "session_id"], kind="stable")
    hidden = hidden.drop(columns="place").reset_index(drop=True)
    limits = result.detection.voxel_thresholds
    thresholds = {each.false_positive_rate: Threshold(each.value, each.low, each.high) for each in limits}
    parts = analysis.aggregates(hidden, protocol, result.headline.validation_mse, thresholds)
    return result.model_copy(update=parts), hidden


def share(folder: Path, output: Path) -> Result:
    """Write what may be shared of a run folder, `result.json` and `scores.parquet`; returns the result as written.

    Raises InputError, and writes nothing, if an id of a private cohort would be in it.
    """
    result, table = shareable(folder)
    refuse_private(folder, result, table)
    write_table(table, output / SCORES)
    write_result(result, output)
    return result


def refuse_private(folder: Path, result: Result, table: pd.DataFrame) -> None:
    """Raise InputError if a result or its cases, made of those of a run folder, name a private cohort's participant."""
    if result.cohort.public:
        return
    ids = _participants(folder)
    told = result.model_dump(mode="json", exclude={"provenance"})  # which holds versions and dates alone
    refuse_ids(f"{folder}: the result", _strings(told), ids)
    words = table.select_dtypes(exclude="number")
    for name in words:
        refuse_ids(f"{folder}: the scores' column {name}", map(str, words[name].unique()), ids)


def _participants(folder: Path) -> set[str]:
    """Everybody whom a run folder knows: who was tested, and who trained where that was written down."""
    tested = set(read_scores(folder)["participant_id"].astype(str))
    try:
        parts = read_json(folder / PEOPLE, LARGEST_SEALED).values()
        return tested | {str(participant) for keys in parts for participant, _ in keys}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return tested


def refuse_ids(where: str, texts: Iterable[str], ids: Iterable[str]) -> None:
    """Raise InputError if a text holds a participant's id, with or without its `sub-`, as a word of its own.

    Ids of fewer than SHORTEST characters, such as 7, are in any text and not looked for.
    """
    content = "\n".join(texts).lower()
    for name in ids:
        bare = name.removeprefix("sub-")
        for form in {form for form in (name, bare) if len(form) >= SHORTEST}:
            # looked for as it is first, which is fast
            if form.lower() in content and re.search(rf"(?<![a-z0-9]){re.escape(form.lower())}(?![a-z0-9])", content):
                advice = "take it out (a path among the model's options?) and run again"
                raise InputError(f"{where} contains '{form}', which names a participant; {advice}")


def _strings(value: JsonValue) -> Iterator[str]:
    """Every text in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
