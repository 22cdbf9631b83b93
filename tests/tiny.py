"""A one-layer BERT with random, seeded weights and a tokenizer of a few dozen words: real code paths, no download."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from tercet.checkpoint import Checkpoint
from tercet.models.export import write_checkpoint
from tercet.models.heads import LateHead, SparseHead

WORDS = (
    "the a of cat dog mat sat on chased red green apple pear heart attack treatment protocol cardiac date string parse "
    "key keys rotate vault secret database index query document token model word"
).split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation, *string.ascii_lowercase]
VOCABULARY += [f"##{letter}" for letter in string.ascii_lowercase] + [word for word in WORDS if len(word) > 1]


def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_trunk(folder: Path, *, masked_language_model: bool = False) -> Path:
    """A folder of Hugging Face's form."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    model = BertForMaskedLM(config) if masked_language_model else BertModel(config)
    # Seeded weights are small; larger ones make texts differ as much as a trained model's do.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    model.save_pretrained(folder)
    specials = {
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    PreTrainedTokenizerFast(tokenizer_object=tokenizer(), model_max_length=64, **specials).save_pretrained(folder)
    return folder


def heads(trunk: BertModel) -> tuple[SparseHead, LateHead]:
    torch.manual_seed(1)
    sparse, late = SparseHead(32, len(VOCABULARY), 8), LateHead(32, 12)
    sparse.start_from(trunk.embeddings.word_embeddings.weight, torch.rand(len(VOCABULARY)))
    with torch.no_grad():
        sparse.bias.fill_(-1.0)
        sparse.bonus.weight.normal_(std=0.3)
        sparse.bonus.bias.fill_(0.5)
        sparse.transform.weight.add_(0.1 * torch.randn(32, 32))
        late.project.weight.normal_()
    return sparse, late


def write_tiny_checkpoint(folder: Path, trunk: Path, *, config_from: Path | None = None) -> Checkpoint:
    sparse, late = heads(BertModel.from_pretrained(trunk))
    texts = [" ".join(WORDS[start : start + 9]) for start in range(0, len(WORDS), 3)]
    return write_checkpoint(
        folder,
        name="tiny",
        trunk=config_from or trunk,
        sparse=sparse,
        late=late,
        calibration=texts,
        card="A test's model.\n",
    )
