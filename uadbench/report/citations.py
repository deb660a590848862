"""What to cite for a result, from CITATION.cff: uadbench, the framework, papers of models, atlas and software."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from uadbench.errors import InputError
from uadbench.runtime.shipped import shipped

if TYPE_CHECKING:
    from uadbench.models.base import Model

FILE = "CITATION.cff"

GROUPS = {
    "uadbench": "this software",
    "framework": "the framework that it implements",
    "model": "the models",
    "foundation": "what every result rests on",
}
"""Groups of citations in the order of printing; those of references are in their `notes`."""

OTHERS = "others"
"""The last author of a reference that lists only the first ones; also BibTeX's word."""

BIBTEX_TYPES = {"article": "article", "book": "book", "conference-paper": "inproceedings"}
"""Type of a reference in the Citation File Format -> entry type of BibTeX; `misc` for others."""


@dataclass(frozen=True)
class Citation:
    """One reference.

    Attributes:
        group: Its group, a key of `GROUPS`.
        fields: Its fields in the Citation File Format 1.2.0.
        models: The models that follow it, of those that were asked for.
    """

    group: str
    fields: Mapping[str, Any]
    models: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Authors and year as in a text: `Kingma and Welling 2014`."""
        names = [author.get("family-names") or author["name"] for author in self.fields.get("authors", ())]
        first = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        return f"{first} {self.fields.get('year', '')}".strip()

    @property
    def key(self) -> str:
        """The key of the BibTeX entry, from the first author and the year, or from the title."""
        (first, *_) = self.fields.get("authors") or [{}]
        name = first.get("family-names") or str(self.fields["title"]).partition(":")[0]
        return re.sub(r"\W", "", f"{name}{self.fields.get('year', '')}").lower()

    @property
    def link(self) -> str:
        """The address of its DOI, or its URL; "" if it has neither."""
        doi = self.fields.get("doi")
        return f"https://doi.org/{doi}" if doi else str(self.fields.get("url", ""))

    @property
    def text(self) -> str:
        """The reference in one paragraph."""
        names = [_full_name(author) for author in self.fields.get("authors", ())]
        if names and names[-1] == OTHERS:
            names[-1] = "et al."
        year = f" ({self.fields['year']})" if "year" in self.fields else ""
        version = f"Version {self.fields['version']}" if "version" in self.fields else ""
        parts = [f"{', '.join(names)}{year}", str(self.fields["title"]), self._venue, version]
        return " ".join([*(f"{part}." for part in parts if part), *filter(None, [self.link])])

    @property
    def bibtex(self) -> str:
        """The reference as a BibTeX entry."""
        kind = BIBTEX_TYPES.get(str(self.fields["type"]), "misc")
        names = [_bibtex_name(author) for author in self.fields.get("authors", ())]
        values = {
            "author": " and ".join(names),
            "title": f"{{{_in_bibtex(self.fields['title'])}}}",
            "journal": _in_bibtex(self.fields.get("journal", "")),
            "booktitle": _in_bibtex(self.fields.get("collection-title", "")),
            "publisher": _in_bibtex(self.fields.get("publisher", {}).get("name", "")),
            "year": self.fields.get("year", ""),
            "volume": self.fields.get("volume", ""),
            "number": self.fields.get("issue", ""),
            "pages": self._pages.replace("-", "--"),
            "version": self.fields.get("version", ""),
            "doi": self.fields.get("doi", ""),
            "url": "" if "doi" in self.fields else self.link,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in values.items() if value]
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])

    def to_json(self) -> dict[str, Any]:
        """The reference as values for JSON."""
        return {
            "key": self.key,
            "group": self.group,
            "models": list(self.models),
            "title": self.fields["title"],
            "link": self.link,
            "text": self.text,
            "bibtex": self.bibtex,
        }

    @property
    def _pages(self) -> str:
        start, end = str(self.fields.get("start", "")), str(self.fields.get("end", ""))
        return f"{start}-{end}" if end else start

    @property
    def _venue(self) -> str:
        """Journal, volume and pages, or the proceedings or publisher."""
        volume = str(self.fields.get("volume", "")) + (f"({self.fields['issue']})" if "issue" in self.fields else "")
        where = [self.fields.get(name) for name in ("journal", "collection-title")]
        name = next(filter(None, where), self.fields.get("publisher", {}).get("name", ""))
        return " ".join(filter(None, [str(name), ":".join(filter(None, [volume, self._pages]))]))


def citations(models: Mapping[str, type[Model]]) -> list[Citation]:
    """Collect what to cite for results of some models.

    A model names its papers in `reference`, separated by semicolons. A paper that begins with authors and year of a
    reference in CITATION.cff, such as `Kingma et al. 2016`, is that reference; any other is cited as it is written.

    Args:
        models: The models, by name.

    Returns:
        The references, by group.

    Raises:
        InputError: If CITATION.cff is missing.
    """
    own, *references = _all_references()
    by_label = {each.label: each for each in references}
    papers: dict[str, Citation] = {}
    users: dict[str, list[str]] = {}
    for name, model in models.items():
        for paper in filter(None, (part.strip() for part in model.reference.split(";"))):
            label = next((label for label in by_label if paper.startswith(label)), paper)
            papers[label] = by_label.get(label, Citation("model", {"type": "generic", "title": paper}))
            users.setdefault(label, []).append(name)
    general = [each for each in references if each.group != "model"]
    chosen = {each.label: each for each in [own, *general]} | papers
    marked = [Citation(each.group, each.fields, tuple(users.get(label, ()))) for label, each in chosen.items()]
    return sorted(marked, key=lambda each: list(GROUPS).index(each.group))


def _all_references() -> list[Citation]:
    """Everything in CITATION.cff, uadbench first."""
    file = shipped(FILE)
    if file is None:
        raise InputError(f"{FILE} is missing from this installation; install uadbench again")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [Citation("uadbench", content), *(Citation(each["notes"], each) for each in content["references"])]


def _full_name(author: Mapping[str, str]) -> str:
    return author.get("name") or f"{author['given-names']} {author['family-names']}"


def _bibtex_name(author: Mapping[str, str]) -> str:
    if author.get("name") == OTHERS:
        return OTHERS
    return f"{{{author['name']}}}" if "name" in author else f"{author['family-names']}, {author['given-names']}"


def _in_bibtex(text: str) -> str:
    """Text with BibTeX's special characters escaped."""
    return re.sub(r"([&%$#_{}])", r"\\\1", text)
