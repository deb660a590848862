"""The secret key of a private cohort, and the pseudonyms of its participants in results."""

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
"""The version of all keyed hashes. Hashes of version 1 can be reversed; results of different versions are not mixed."""

KEPT = ".secrets"
"""The folder, in an output folder, with the fingerprint of each private cohort's secret."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def public(self) -> bool: ...


@dataclass(frozen=True)
class Secret:
    """A secret key, which makes pseudonyms and hashes that only its owner can make: HMAC-SHA256 (RFC 2104).

    Attributes:
        value: The key. It is empty for a public cohort, whose names and hashes remain unchanged.
    """

    value: bytes = field(repr=False)

    def pseudonym(self, kind: str, text: str, digits: int = 16) -> str:
        """The pseudonym of a name.

        Args:
            kind: The prefix of the pseudonym.
            text: The name.
            digits: The number of digits.

        Returns:
            The prefix and digits of the keyed hash of the name; the name itself for a public cohort.
        """
        return f"{kind}-{self._keyed(kind, text)[:digits]}" if self.value else text

    def participant(self, name: str) -> str:
        """The pseudonym of a participant.

        Args:
            name: The participant's identifier.

        Returns:
            The name in results.
        """
        return self.pseudonym("anon", name)

    def key(self, participant: str, session: str) -> tuple[str, str]:
        """The pseudonyms of a participant and a session; the session's pseudonym is unique across participants.

        Args:
            participant: The participant's identifier.
            session: The session's identifier.

        Returns:
            The names in results.
        """
        return self.participant(participant), self.pseudonym(
            "ses", f"{participant} {session}"
        ) if self.value else session

    def site(self, name: str) -> str:
        """The pseudonym of a site.

        Args:
            name: The name of the site; "" if unknown.

        Returns:
            The name in results; "" if unknown.
        """
        return self.pseudonym("site", name, 4) if name else name

    def seal(self, digest: str) -> str:
        """Replace a hash that could be computed from the participants' identifiers by a keyed hash.

        Args:
            digest: The hash.

        Returns:
            The keyed hash; the hash itself for a public cohort.
        """
        return self._keyed("seal", digest) if self.value else digest

    @property
    def fingerprint(self) -> str:
        """A hash that distinguishes secrets without revealing them."""
        return self._keyed("fingerprint", "")[:16]

    def _keyed(self, kind: str, text: str) -> str:
        return hmac.digest(self.value, f"{FORM}:{kind}:{text}".encode(), "sha256").hex()


def secret_of(cohort: _Named) -> Secret:
    """The secret of a cohort, created at the first use.

    Args:
        cohort: The cohort.

    Returns:
        The secret, which is empty for a public cohort.

    Raises:
        InputError: If the file with the secret is corrupted.
        Unfinished: If the file cannot be written.
    """
    return Secret(b"" if cohort.public else salt(identity(cohort)))


def identity(cohort: _Named) -> str:
    """The local name of a cohort, under which its secret and its scans are stored on this machine.

    Args:
        cohort: The cohort.

    Returns:
        Its attribute `identity` if it has one, otherwise its name.
    """
    return str(getattr(cohort, "identity", None) or cohort.name)


def salt_folder() -> Path:
    """The folder of secrets: the environment variable UADBENCH_SALTS, or a folder in the user's data folder."""
    return own_folder("UADBENCH_SALTS", lambda: f"{platformdirs.user_data_dir('uadbench', appauthor=False)}/salts")


def salt_file(identity: str) -> Path:
    """The file with the secret of a cohort.

    Args:
        identity: The local name of the cohort.

    Returns:
        The path.
    """
    return salt_folder() / f"{file_name(identity)}.salt"


def salt(identity: str) -> bytes:
    """Read the secret of a cohort; at the first use it is created, readable only by its owner.

    Args:
        identity: The local name of the cohort.

    Returns:
        The secret.

    Raises:
        InputError: If the file is corrupted.
        Unfinished: If the file cannot be written.
    """
    file = salt_file(identity)
    sweep(file.parent)
    try:
        if not file.is_file():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with part_folder(file.parent) as folder:
                partial = _new_secret(folder / file.name)
                with contextlib.suppress(FileExistsError):  # another process has created the secret first
                    os.link(partial, file)
        content = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except OSError as error:
        raise Unfinished(f"{file}: cannot store the cohort's secret ({error.strerror}); set UADBENCH_SALTS") from None
    except ValueError:
        content = b""
    if len(content) != SALT_BYTES:
        raise InputError(f"{file}: is corrupted; restore the cohort's secret (with a new one, all results change)")
    return content


def _new_secret(file: Path) -> Path:
    """Write a new secret into a new file that only the owner can read."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as made:
        made.write(secrets.token_hex(SALT_BYTES) + "\n")
        made.flush()
        os.fsync(made.fileno())
    return file


def require_same_secrets(output: Path, cohorts: Iterable[_Named]) -> None:
    """Ensure that the secrets of cohorts are those of earlier runs in an output folder, and store their fingerprints.

    Args:
        output: The output folder.
        cohorts: The cohorts of the runs.

    Raises:
        InputError: If the secret of a cohort has changed, which would change its splits and test sets; the message
            names the file.
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
                f"{salt_file(identity(cohort))}: is not the secret of cohort {cohort.name} in earlier runs in {output} "
                f"(fingerprint {now} instead of {before}); restore that secret, or give another --output"
            )
        if not before:
            write_text(kept, f"{now}\n")
