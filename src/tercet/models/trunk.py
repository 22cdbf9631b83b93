"""Berts in torch by their sizes: the trunk of a model, and the small side network of a sparse head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from tercet.checkpoint import ModelConfig, SideNetwork
from tercet.errors import CheckpointError


def bert_of(
    shape: ModelConfig | SideNetwork, vocabulary_size: int, state: Mapping[str, Tensor] | None = None, *, name: str
) -> BertModel:
    """A BERT without pooler, its weights from `state` under BERT's names; None leaves them at random.

    Raises:
        CheckpointError: a weight is missing.
    """
    bert = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.attention_heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.max_positions,
        layer_norm_eps=shape.layer_norm_eps,
    )
    model = BertModel(bert, add_pooling_layer=False)
    if state is not None:
        wanted = model.state_dict().keys()
        if missing := wanted - state.keys():
            raise CheckpointError(f"the trunk of {name!r} lacks {', '.join(sorted(missing)[:3])}; is it a BERT?")
        model.load_state_dict({key: state[key] for key in wanted})
    # No dropout: a text has the same vectors in both passes of gradient caching, and in a run that is resumed.
    return model.eval()  # type: ignore[no-any-return]


class SideTrunk(nn.Module):
    """A small SPLADE's body beside the trunk (side-tuning, Zhang et al., 2020): the decoder's space is its own.

    The trunk was trained to say what a text means as a whole, a SPLADE to say which words it stands for. Two layers of
    128 dimensions cost a twenty-fifth of the trunk.
    """

    def __init__(self, shape: SideNetwork, vocabulary_size: int) -> None:
        super().__init__()
        self.shape = shape
        self.bert = bert_of(shape, vocabulary_size, name="the side network")
        self.transform = nn.Linear(shape.hidden, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=shape.layer_norm_eps)

    def forward(self, token_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Read texts anew from their words; [CLS] and [SEP] are put around each.

        token_ids: (n_tokens of all texts,) without special tokens
        returns: (n_tokens, hidden)
        """
        counts = torch.tensor(lengths, device=token_ids.device)[:, None]
        at = torch.arange(int(counts.max()) + 2, device=token_ids.device)[None]
        ids = torch.where(at == 0, self.shape.first_token, torch.where(at == counts + 1, self.shape.last_token, 0))
        inner = (at > 0) & (at <= counts)
        ids = ids.masked_scatter(inner, token_ids)
        states = self.bert(input_ids=ids, attention_mask=(at <= counts + 1).long()).last_hidden_state[inner]
        transformed: Tensor = self.norm(F.gelu(self.transform(states)))
        return transformed


def counts_in_text(token_ids: Tensor, lengths: Sequence[int]) -> Tensor:
    """(n_tokens,): how often each token stands in its own text, itself included."""
    counts = []
    for part in token_ids.split(list(lengths)):
        _, where, times = torch.unique(part, return_inverse=True, return_counts=True)
        counts.append(times[where])
    return torch.cat(counts)
