"""How a head is trained on masked words, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tercet.training.settings import JsonPlan, check_choice, check_number, check_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class MlmPlan(JsonPlan):
    """How the sparse head learns to guess hidden words; what `TrainingPlan` has, too, means the same.

    batch_size: pieces of text of at most max_tokens; a longer text makes several. mask_share: of a piece's words.
    accumulate: batches whose gradients are added before a step. held_out: texts to measure with, at most a tenth of
    all.

    Raises:
        ValueError: a value that can never work.
    """

    unfrozen_layers: int | Literal["all"] = 0

    steps: int = 1000
    batch_size: int = 32
    accumulate: int = 1
    max_tokens: int = 128
    mask_share: float = 0.15

    learning_rate: float = 1e-3
    trunk_learning_rate: float = 2e-5

    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "f32", "bf16"] = "auto"
    held_out: int = 200
    evaluate_every: int = 250
    save_every: int = 250
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "evaluate_every", "save_every", "log_every"):
            check_whole(name, getattr(self, name), least=1)
        # [CLS], [SEP], a word that is hidden and one that tells it.
        check_whole("max_tokens", self.max_tokens, least=4)
        check_whole("held_out", self.held_out, least=0)
        if self.unfrozen_layers != "all":
            check_whole("unfrozen_layers", self.unfrozen_layers, least=0)
        for name in ("learning_rate", "trunk_learning_rate", "mask_share"):
            check_number(name, getattr(self, name), positive=True)
        if self.mask_share > 1:
            raise ValueError(f"mask_share is a part of a text's words, at most 1, got {self.mask_share}")
        check_choice("precision", (self.precision,), ("auto", "f32", "bf16"))
