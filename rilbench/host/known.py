"""Components that exist outside rilbench, and how to install them."""

from __future__ import annotations

KNOWN = {  # kind/name -> what pip installs; only what its publisher asked to be listed here
    "reward/warmth": "./examples/rilbench-warmth",
    "metric/warm_share": "./examples/rilbench-warmth",
}


def pip_line(kind: str, name: str) -> str | None:
    """The command that installs a known component."""
    source = KNOWN.get(f"{kind}/{name}")
    if source is None:
        return None
    where = " (in a source checkout of rilbench)" if source.startswith("./") else ""
    return f"pip install {source}{where}"
