"""A model's name in, its folder out: a directory on disk, or what a Hugging Face hub has under that name.

Only configurations, vocabularies and safetensors are fetched, never pickled weights and never code.
"""

from __future__ import annotations

import re
from pathlib import Path

from tercet.errors import CheckpointError

#: What makes a model, of every layout that tercet reads. `artifact.metadata` is Stanford ColBERT's configuration.
PATTERNS = ("*.json", "*.safetensors", "vocab.txt", "artifact.metadata")
#: File names of weights that run code when they are read.
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def find_model(name: str | Path) -> Path:
    """The folder of a model: `name` itself where it is a directory, else a snapshot of the hub's repository.

    name: a folder, or "organisation/model"

    Raises:
        CheckpointError: there is neither, the hub does not answer, or the weights are pickled.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = _snapshot(str(name))
    refuse_pickles(folder)
    return folder


def refuse_pickles(folder: Path) -> None:
    """Stop at a folder whose weights can be read by unpickling alone.

    Raises:
        CheckpointError: names them and says what to do.
    """
    pickled = [
        path for pattern in PICKLED for path in folder.rglob(pattern) if not any(path.parent.glob("*.safetensors"))
    ]
    if pickled:
        found = ", ".join(sorted(str(path.relative_to(folder)) for path in pickled)[:3])
        raise CheckpointError(
            f"{folder} has pickled weights ({found}) and no safetensors beside them; a pickle runs what its author put "
            f"there. Where you trust it, load it with its own library and save it again as safetensors"
        )


def _snapshot(name: str) -> Path:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith((".", "/")):
        raise CheckpointError(
            f"there is no model {name!r}; name a folder that exists, 'organisation/model' of a hub, or 'tercet-mini'"
        )
    # Everything that tokenizers installs with itself, yet half a second to import.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name, allow_patterns=list(PATTERNS)))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise CheckpointError(
            f"there is no folder {name!r}, no copy of it in the hub's cache, and the hub cannot be asked (offline, or "
            f"HF_HUB_OFFLINE is set); download it where there is a network and name the folder"
        ) from error
    except (HfHubHTTPError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise CheckpointError(f"there is no folder {name!r}, and the hub refused it: {first_line}") from error
