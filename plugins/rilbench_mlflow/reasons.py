"""Why something did not work, in a line."""

from __future__ import annotations

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.redact import redacted


def reason(error: Exception) -> str:
    """The first line of an error, which MLflow follows with many, as a sentence."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    text = redacted(text if isinstance(error, RilbenchError) else text[:300])
    return text if text.endswith(".") else f"{text}."
