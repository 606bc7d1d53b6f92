"""Texts from the jinja templates of a package."""

from __future__ import annotations

from typing import Any


def filled(package: str, name: str, /, **content: Any) -> str:
    """A template filled with content; an unknown name in it is an error. Markup is escaped in `NAME.html.j2` only."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(content)
