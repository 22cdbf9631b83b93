"""A run's files: written whole or not at all; its state is safetensors, read without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tercet.errors import CheckpointError

#: Ends the name of a file that is being written.
UNFINISHED = ".writing"


def save_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the file in one move, so that a kill at any moment leaves the old state or the new one."""
    unfinished = path.with_suffix(UNFINISHED)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, unfinished, metadata={"facts": json.dumps(facts)})
    _replace(path, unfinished)


def replace_text(path: Path, text: str) -> None:
    """Replace a small file in one move, likewise."""
    unfinished = path.with_suffix(UNFINISHED)
    unfinished.write_text(text, encoding="utf-8", newline="")
    _replace(path, unfinished)


def _replace(path: Path, unfinished: Path) -> None:
    with unfinished.open("rb+") as stream:
        os.fsync(stream.fileno())  # else a power cut could leave the name and not the bytes
    os.replace(unfinished, path)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Raises CheckpointError where the file cannot be read."""
    try:
        with safe_open(path, framework="pt") as stored:
            facts = json.loads(stored.metadata()["facts"])
            return {name: stored.get_tensor(name) for name in stored.keys()}, facts
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); delete it to train from the start") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments by parameter number: "7.exp_avg"."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, moments in state.items() for name, tensor in moments.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, moment = name.partition(".")
        state.setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
