"""The templates of pages: the text of values is sanitised and escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from uadbench.runtime.text import on_page

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

FOLDER = "templates"


def rendered(template: str, **values: Any) -> Markup:
    """Render a template.

    Args:
        template: The name of its file; in `.html`, values are escaped unless they are markup.
        **values: Its variables.

    Returns:
        The text.
    """
    from markupsafe import Markup

    return Markup(environment().get_template(template).render(**values))  # escaped by the template


@cache
def source(name: str) -> Markup:
    """A style sheet or a script, to be inserted as it is."""
    from markupsafe import Markup

    return Markup((files("uadbench.report") / FOLDER / name).read_text(encoding="utf-8").strip())


@cache
def environment() -> Environment:
    """The environment of the templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader("uadbench.report", FOLDER),
        finalize=on_page,
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
