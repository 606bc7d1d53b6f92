"""Sending an export to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from rilbench.contracts.errors import RilbenchError, UsageError, reason


def check(repo_id: str) -> None:
    """UsageError, before any work, for a name the Hub would not take, offline mode, or when nobody is logged in."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"--push {repo_id}: {' '.join(str(error).split())}") from None
    if repo_id.count("/") != 1:
        raise UsageError(f"--push {repo_id}: say whose it is, as in --push my-name/{repo_id}")
    if constants.HF_HUB_OFFLINE:
        raise UsageError("--push: HF_HUB_OFFLINE is set, so nothing is sent; unset it, or export without --push")
    if not huggingface_hub.get_token():
        raise UsageError("--push: nobody is logged in to the Hub; run `hf auth login` or set HF_TOKEN")


def push(folder: Path, repo_id: str, *, private: bool) -> str:
    """Make the repository if there is none, upload the folder, and return the address of the commit.

    RilbenchError when the Hub cannot be reached or refuses.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        said = f"rilbench: {folder.name}"
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=said))
    except Exception as error:  # its own dozen kinds, and those of the connection
        kept = f"{folder} is kept; try again: hf upload {repo_id} {folder}"
        raise RilbenchError(f"the Hub did not take it: {reason(error)[:300]}. {kept}") from error
