"""For mkdocs: a link to a file outside docs/ becomes the file's path, because the site does not contain the file."""

from __future__ import annotations

import re

OUTSIDE = re.compile(r"(!?)\[([^\]]+)\]\((?:\.\./)+([^)]+)\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs with the text of every page."""
    return OUTSIDE.sub(_path, markdown)


def _path(link: re.Match[str]) -> str:
    _, text, path = link.groups()
    return f"`{path}`" if path in text else f"{text} (`{path}`)"
