"""tercet's sparse head as a module of sentence-transformers: token states in, a weight for each vocabulary entry out.

sentence-transformers has BERT's head for masked words, which has no low-rank decoder and no lexical bonus. A folder
that `tercet.models.sentence_folders` writes names the class here, and so loads where tercet is installed.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import torch
from sentence_transformers.base.modules import Module
from torch import Tensor

from tercet.checkpoint import SparseForm
from tercet.models.heads import SparseHead


class SparseHeadPooling(Module):
    """`tercet.models.heads.SparseHead` behind a Transformer, with the pooling in it.

    special_ids: tokens that no text says ([CLS], [SEP], [PAD], markers); left out unless the form has specials
    """

    config_keys = ["hidden", "vocabulary_size", "rank", "form", "special_ids", "norm_eps"]  # noqa: RUF012 their convention

    def __init__(
        self,
        hidden: int,
        vocabulary_size: int,
        rank: int,
        form: dict[str, Any],
        special_ids: list[int],
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.hidden, self.vocabulary_size, self.rank = hidden, vocabulary_size, rank
        self.form, self.special_ids, self.norm_eps = form, special_ids, norm_eps
        self.head = SparseHead(hidden, vocabulary_size, rank, SparseForm.from_dict(form))
        self.head.norm.eps = norm_eps

    @classmethod
    def of(cls, head: SparseHead, special_ids: list[int]) -> SparseHeadPooling:
        """A head that has its weights already."""
        hidden = head.transform.in_features
        form = dataclasses.asdict(head.form)
        module = cls(hidden, len(head.decoder), head.rank, form, special_ids, head.norm.eps)
        module.head.load_state_dict(head.state_dict())
        return module

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """features: token_embeddings (batch, n_tokens, hidden), input_ids and attention_mask (batch, n_tokens)."""
        ids, states = features["input_ids"], features["token_embeddings"]
        read = features["attention_mask"].bool()
        if not self.head.form.specials:
            read &= ~torch.isin(ids, torch.tensor(self.special_ids, device=ids.device))
        lengths = read.sum(dim=1)
        weights: Tensor = states.new_zeros(len(ids), self.vocabulary_size)
        said = lengths > 0  # a text without a word has an empty vector
        if bool(said.any()):
            weights[said] = self.head(states[read], ids[read], lengths[said].tolist())
        features["sentence_embedding"] = weights
        return features

    def get_embedding_dimension(self) -> int:
        return self.vocabulary_size

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A saved folder; `init_defaults`, which other modules take, have no say here."""
        place: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        module = cls(**cls.load_config(model_name_or_path, **place))
        loaded: Self = cls.load_torch_weights(model_name_or_path, model=module, **place)
        return loaded
