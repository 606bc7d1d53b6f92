"""Comparison views in the format of MLflow's UI: one experiment tag each, shown in its list of saved views.

MLflow 3.17 reads the tag `mlflow.sharedViewState.<id>` when `viewStateShareKey=<id>` is in the address: a JSON object
with the view's name, two times in ms, and the state of the page, compressed because tags have a limited length.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

PREFIX = "mlflow.sharedViewState."
COMPRESSED = "deflate;"


def tag(key: str, name: str, state: Mapping[str, Any], *, time: int) -> tuple[str, str]:
    """Key and value of the experiment tag that is a saved view; `time` in ms since 1970."""
    text = json.dumps(state, separators=(",", ":"))
    packed = COMPRESSED + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return PREFIX + key, json.dumps({"name": name, "createdAt": time, "updatedAt": time, "state": packed})


def state(value: str) -> dict[str, Any]:
    """The page state in a tag's value, written by this plugin or the UI; raises ValueError if it is invalid."""
    text = json.loads(value)["state"]
    if text.startswith(COMPRESSED):
        text = zlib.decompress(base64.b64decode(text.removeprefix(COMPRESSED)))
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("the saved view is not a JSON object")
    return found


def path(experiment_id: str, key: str, *, charts: bool = True) -> str:
    """The path of a saved view on the server; with charts, it opens on them."""
    mode = {"compareRunsMode": "CHART"} if charts else {}
    return f"/#/experiments/{experiment_id}/runs?{urlencode({'viewStateShareKey': key} | mode)}"
