"""What every training loop does alike: parameter groups in, one clipped step of AdamW out; device, precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tercet.errors import TrainingCollapsed
from tercet.training.model import ThreeHeads
from tercet.training.plan import Head
from tercet.training.resume import optimizer_tensors, restore_optimizer

Precision = Literal["auto", "f32", "bf16"]
#: Parameters by name, and how fast they learn.
Group = tuple[dict[str, nn.Parameter], float]


def choose_device(wanted: str) -> torch.device:
    """What the plan names; for "auto" a GPU where there is one."""
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 where the plan asks for it; for "auto" where the GPU computes in it by itself."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    bf16 = precision == "bf16" or (precision == "auto" and able)
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else nullcontext()


def parameter_groups(
    model: ThreeHeads, heads: Sequence[Head], *, rate: float, trunk_rate: float, masked_words: bool = False
) -> list[Group]:
    """What learns, by name, and how fast.

    The decoder learns slower, for its rows are many and rarely seen; the bonus faster, for it is one number a word. A
    side network is a BERT that knows much already, so it learns as slowly as the trunk.

    masked_words: without what weighs words that stand in a text: the bonus, and a table of queries
    """
    groups: list[Group] = []
    trunk = {f"trunk.{name}": p for name, p in model.trunk.named_parameters() if p.requires_grad}
    if "sparse" in heads:
        sparse = {f"sparse.{name}": parameter for name, parameter in model.sparse.named_parameters()}
        decoder = {name: sparse.pop(name) for name in ("sparse.decoder", "sparse.bias")}
        trunk |= {name: sparse.pop(name) for name in list(sparse) if name.startswith("sparse.side.")}
        standing = {name: sparse.pop(name) for name in list(sparse) if "bonus" in name or "frequency" in name}
        if model.query_table is not None:
            standing["query_table.table"] = model.query_table.table
        groups += [(sparse, rate), (decoder, 0.5 * rate)]
        if standing and not masked_words:
            groups.append((standing, 5 * rate))
    if "late" in heads:
        groups.append(({f"late.{name}": parameter for name, parameter in model.late.named_parameters()}, rate))
    return [*groups, (trunk, trunk_rate)] if trunk else groups


class Optimizer:
    """AdamW without weight decay, gradients clipped at length 1, a learning rate that rises and falls.

    It rises over a twentieth of the steps, at most a hundred, and falls in a line to a fiftieth.
    """

    def __init__(self, groups: Sequence[Group], *, steps: int) -> None:
        self.groups = groups
        self._steps = steps
        # Fused: one pass over a parameter and its moments instead of a dozen.
        self._adam = torch.optim.AdamW(
            [{"params": list(group.values()), "lr": rate} for group, rate in groups], weight_decay=0.0, fused=True
        )

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: parameter for group, _ in self.groups for name, parameter in group.items()}

    def share(self, step: int) -> float:
        """The part of its learning rate that a group learns at, at this step."""
        warm_up = min(100, max(1, self._steps // 20))
        return min(1.0, (step + 1) / warm_up) * max(0.02, 1 - step / self._steps)

    def begin(self, step: int) -> None:
        """Forget the last step's gradients."""
        for settings, (_, rate) in zip(self._adam.param_groups, self.groups, strict=True):
            settings["lr"] = rate * self.share(step)
        self._adam.zero_grad()

    def finish(self, step: int, loss: float) -> None:
        """Move along the gradients that were added since `begin`.

        Raises:
            TrainingCollapsed: the loss or a gradient is no number.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        if not math.isfinite(loss) or not torch.isfinite(norm):
            raise TrainingCollapsed(
                f"step {step + 1}: the loss is {loss}, its gradient's length {norm.item()}; lower learning_rate "
                f"(trunk_learning_rate, too, where layers are unfrozen), or use precision='f32'"
            )
        self._adam.step()

    def state(self) -> dict[str, Tensor]:
        """The parameters and Adam's moments, by name."""
        tensors: dict[str, Tensor] = {f"model.{name}": parameter for name, parameter in self.parameters.items()}
        return tensors | {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self._adam).items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"model.{name}"])
        moments = {name: tensor for name, tensor in tensors.items() if name.startswith("optimizer.")}
        restore_optimizer(self._adam, {name.removeprefix("optimizer."): moments[name] for name in moments})
