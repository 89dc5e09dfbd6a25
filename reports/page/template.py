"""The templates of the page. Whatever is put into one is escaped: names and log lines are other people's text."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
"""Characters that would be seen by nobody, or turn the order of others around (https://trojansource.codes)."""


def render(name: str, **parts: Any) -> Markup:
    """A template with its parts, as text that is safe to put into another one."""
    return Markup(_environment().get_template(name).render(parts))


def style(name: str) -> Markup:
    """A file beside the templates as it stands: it is ours."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8").strip())


def visible(value: object) -> object:
    """Text with its invisible characters written out."""
    if not isinstance(value, str):
        return value
    told = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    return Markup(told) if isinstance(value, Markup) else told


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
