"""Fetches a checkpoint from the Hub of Hugging Face: `hf://OWNER/NAME`, safetensors alone."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import keras

from keras_vit.checkpoints.files.config_json import CONFIGURATIONS
from keras_vit.utils.text import say

SCHEME = "hf://"

_PART = r"[\w-][\w.-]*"
# As in Hugging Face's own addresses, `/` within a revision is `%2F`.
_ADDRESS = re.compile(
    rf"hf://(?P<repo>{_PART}/{_PART})(?:@(?P<revision>{_PART}(?:%2[Ff]{_PART})*))?"
    rf"(?:/(?P<file>(?:{_PART}/)*{_PART}\.safetensors(?:\.index\.json)?))?",
    re.ASCII,
)
_COMMIT = re.compile("[0-9a-f]{40}")


def local_file(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The file that a path means; one of the Hub is fetched into the cache of Hugging Face.

    Args:
        path: `"hf://OWNER/NAME"`, for `model.safetensors` or its shards. `@REVISION` may follow, a
            branch, a tag or a commit; without a commit the one that was found is printed. Then
            `/FILE.safetensors` may follow, where the file has another name. Any other path is
            returned as it is.

    Returns:
        The `.safetensors` file, or the index of its shards; `config.json` and its like lie beside.

    Raises:
        ValueError: If the address is malformed, or the repository has no such safetensors.
        FileNotFoundError: If there is no such repository or revision.
        PermissionError: If the repository is gated and you have no access.
        ConnectionError: If the Hub cannot be reached and the cache does not have the files.
        ImportError: If huggingface_hub is not installed.
    """
    if not isinstance(path, str) or not path.startswith(SCHEME):
        return path
    match = _ADDRESS.fullmatch(path)
    if match is None:
        raise ValueError(
            "The address of a checkpoint on the Hub is 'hf://OWNER/NAME' or "
            "'hf://OWNER/NAME@REVISION', and '/FILE.safetensors' may follow; write a '/' within "
            f"the revision as '%2F'. Received: {path!r}"
        )
    revision = unquote(match["revision"]) if match["revision"] else None
    stem = re.sub(r"\.safetensors(\.index\.json)?$", "", match["file"] or "model.safetensors")
    folder = fetch(path, match["repo"], revision, stem)
    found = [folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"]
    file = next((file for file in found if file.is_file()), None)
    if file is None:
        raise _no_safetensors(path, match["repo"], folder.name, stem)
    if revision is None or not _COMMIT.fullmatch(revision):
        _say_commit(path, match["repo"], folder.name)
    return file


def fetch(address: str, repo: str, revision: str | None, stem: str) -> Path:
    """The folder of the cache with the safetensors of this stem; it is named after the commit."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"Fetching {address!r} needs the package huggingface_hub: "
            'pip install "keras-vit-applications[hub]"'
        ) from error
    wanted = [f"{stem}.safetensors", f"{stem}.safetensors.index.json"]
    wanted.append(f"{stem}-?????-of-?????.safetensors")
    # Without these the weights could open as another model, or with pixels of another mean.
    wanted += [f"{stem.rpartition('/')[0]}/{name}" for name in CONFIGURATIONS]
    try:
        folder = huggingface_hub.snapshot_download(
            repo,
            revision=revision,
            allow_patterns=[pattern.lstrip("/") for pattern in wanted],
            library_name="keras_vit",
        )
    except Exception as error:  # those of its HTTP library, whichever that is, too
        raise _explained(address, repo, revision, error) from None
    return Path(folder)


def _explained(address: str, repo: str, revision: str | None, error: Exception) -> Exception:
    """The error in a sentence that says what to do."""
    from huggingface_hub import constants, errors

    cause: Any = error
    if isinstance(error, errors.LocalEntryNotFoundError):  # it then looked into the cache
        cause = error.__cause__ or error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    page = f"{constants.ENDPOINT}/{repo}"
    if isinstance(cause, errors.RevisionNotFoundError):
        return FileNotFoundError(
            f"{repo!r} on the Hub has no revision {revision!r}: take one from {page}/commits, or "
            f"leave it out for the newest. Received: {address!r}"
        )
    if isinstance(cause, errors.GatedRepoError) or status == 403:
        return PermissionError(
            f"{repo!r} on the Hub is gated: accept its conditions at {page}, then log in with "
            f"`hf auth login` or set HF_TOKEN. Received: {address!r}"
        )
    if isinstance(cause, errors.RepositoryNotFoundError) or status in (401, 404):
        return FileNotFoundError(
            f"There is no {repo!r} on the Hub, or it is private: check the name at {page}; for a "
            f"private one log in with `hf auth login` or set HF_TOKEN. Received: {address!r}"
        )
    if isinstance(error, ValueError):
        return ValueError(f"{error} Received: {address!r}")
    if isinstance(error, OSError) and error.errno:  # of the disk
        return error
    reason = next(iter(str(cause).strip().splitlines()), "") or type(cause).__name__
    return ConnectionError(
        f"Cannot fetch {address!r}, and the cache of Hugging Face does not have all of it: connect "
        "to the network (and unset HF_HUB_OFFLINE), or fetch the files elsewhere and give the path "
        f"of their folder. The reason: {reason}"
    )


def _no_safetensors(address: str, repo: str, commit: str, stem: str) -> ValueError:
    from huggingface_hub import HfApi

    names: list[str] = []
    with contextlib.suppress(Exception):  # without a network the sentence is shorter
        names = HfApi().list_repo_files(repo, revision=commit)
    others = [name for name in names if name.endswith(".safetensors")][:8]
    if others:
        hint = f"It has {others}: put '/' and the one that you want at the end of the address."
    else:
        hint = (
            "Pickles (.bin, .pth) can run any code when they are opened, so they are never "
            "fetched: choose a revision with safetensors, or save the weights as .safetensors "
            "where you trust the file."
        )
    return ValueError(f"{address!r} has no '{stem}.safetensors'. {hint}")


def _say_commit(address: str, repo: str, commit: str) -> None:
    if keras.config.is_interactive_logging_enabled():
        say(f"{address} is at the commit {commit}; {SCHEME}{repo}@{commit} stays there")
