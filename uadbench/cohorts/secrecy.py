"""The secret of a private cohort, and the names under which its people are known wherever a result may go."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import platformdirs

from uadbench.errors import InputError, Unfinished
from uadbench.runtime.files import file_name, own_folder, write_text
from uadbench.runtime.parts import part_folder, sweep

SALT_BYTES = 32

FORM = "2"
"""Of all hashes with a secret. Results of form 1 can be reversed: a new form keeps new results apart from them."""

KEPT = ".secrets"
"""In a folder of runs: which secret each private cohort had."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def public(self) -> bool: ...


@dataclass(frozen=True)
class Secret:
    """Makes names and hashes that only its owner can make: HMAC-SHA256 (RFC 2104).

    Without a value it is that of a public cohort: names and hashes stay as they are.
    """

    value: bytes = field(repr=False)

    def pseudonym(self, kind: str, text: str, digits: int = 16) -> str:
        """`kind` and so many digits of the keyed hash of a text."""
        return f"{kind}-{self._keyed(kind, text)[:digits]}" if self.value else text

    def participant(self, name: str) -> str:
        """A participant's name in results."""
        return self.pseudonym("anon", name)

    def key(self, participant: str, session: str) -> tuple[str, str]:
        """Participant and session as results know them. No two sessions have one name, whoever they are of."""
        return self.participant(participant), self.pseudonym(
            "ses", f"{participant} {session}"
        ) if self.value else session

    def site(self, name: str) -> str:
        """A site's name in results; one that is not known stays ""."""
        return self.pseudonym("site", name, 4) if name else name

    def seal(self, digest: str) -> str:
        """Another hash in place of one that anybody could make who knows the ids."""
        return self._keyed("seal", digest) if self.value else digest

    @property
    def fingerprint(self) -> str:
        """Tells two secrets apart, and nothing of them."""
        return self._keyed("fingerprint", "")[:16]

    def _keyed(self, kind: str, text: str) -> str:
        return hmac.digest(self.value, f"{FORM}:{kind}:{text}".encode(), "sha256").hex()


def secret_of(cohort: _Named) -> Secret:
    """The secret of a cohort, made when it is first needed. Raises what `salt` raises."""
    return Secret(b"" if cohort.public else salt(identity(cohort)))


def identity(cohort: _Named) -> str:
    """What a cohort is called on this machine alone, where its secret and its scans are kept."""
    return str(getattr(cohort, "identity", None) or cohort.name)


def salt_folder() -> Path:
    """Where secrets are kept: in the user's data folder, or in UADBENCH_SALTS."""
    return own_folder("UADBENCH_SALTS", lambda: f"{platformdirs.user_data_dir('uadbench', appauthor=False)}/salts")


def salt_file(identity: str) -> Path:
    """The file with the secret of a cohort."""
    return salt_folder() / f"{file_name(identity)}.salt"


def salt(identity: str) -> bytes:
    """The secret of a cohort, made when it is first needed, and readable by its owner alone.

    Raises:
        InputError: For a damaged file.
        Unfinished: If none can be written.
    """
    file = salt_file(identity)
    sweep(file.parent)
    try:
        if not file.is_file():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with part_folder(file.parent) as folder:
                partial = _new_secret(folder / file.name)
                with contextlib.suppress(FileExistsError):  # another process was faster: there is one secret
                    os.link(partial, file)
        content = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except OSError as error:
        raise Unfinished(f"{file}: cannot keep the cohort's secret ({error.strerror}); set UADBENCH_SALTS") from None
    except ValueError:
        content = b""
    if len(content) != SALT_BYTES:
        raise InputError(f"{file}: is damaged; put the cohort's secret back (with a new one all results change)")
    return content


def _new_secret(file: Path) -> Path:
    """Write a new secret into a new file for the owner alone."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as made:
        made.write(secrets.token_hex(SALT_BYTES) + "\n")
        made.flush()
        os.fsync(made.fileno())
    return file


def require_same_secrets(output: Path, cohorts: Iterable[_Named]) -> None:
    """Make sure that runs in a folder go on with the secrets that they began with, and write down which those are.

    Raises:
        InputError: For a cohort whose secret is another now: its people would be divided otherwise, and drawn for
            otherwise; the message names the file.
    """
    for cohort in cohorts:
        if cohort.public:
            continue
        kept, now = output / KEPT / file_name(identity(cohort)), secret_of(cohort).fingerprint
        try:
            before = kept.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            before = ""
        if before and before != now:
            raise InputError(
                f"{salt_file(identity(cohort))}: is not the secret that cohort {cohort.name} had in {output} "
                f"({now}, then {before}); put that one back, or give another --output"
            )
        if not before:
            write_text(kept, f"{now}\n")
