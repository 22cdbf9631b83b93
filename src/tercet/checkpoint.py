"""The lake where training and retrieval meet: a folder of safetensors, tokenizer and one JSON, read without torch.

tercet.json        dimensions, limits, prompts, activation ranges, hash of the weights
model.safetensors  trunk in float16; word embeddings and decoder as int8 rows with a scale each
tokenizer.json     Hugging Face tokenizers
graph.*.onnx       the runtime's graph for each precision, structure only: weights come from model.safetensors
README.md          the model card
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tercet.errors import CheckpointError

FORMAT = 1
#: Vocabulary terms of one tile of the decoder: tokens × 512 logits exist at one time, which stay in
#: the cache, instead of tokens × 30,522. Tiles of 512 took 4 % less than of 2,048 or 4,096 for the whole pass.
TILE_TERMS = 512
#: The tensor (vocabulary,) that a checkpoint has where its queries are weighed by a table instead of the model; 0 at
#: what no query may hold. The graph does not know it.
QUERY_WEIGHTS = "sparse.query_weights"
#: Stands before the names of the side network's tensors, which are called as the trunk's.
SIDE = "sparse.side."
CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "tercet.json", "model.safetensors", "tokenizer.json"

Precision: TypeAlias = Literal["int8", "f32"]
HeadName: TypeAlias = Literal["dense", "sparse", "late"]
HEADS: tuple[HeadName, ...] = ("dense", "sparse", "late")
Weights: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideNetwork:
    """The shape of a small BERT that reads the same tokens beside the trunk, for the sparse head alone.

    first_token, last_token: [CLS] and [SEP], which stand around every text
    """

    hidden: int
    layers: int
    attention_heads: int
    intermediate: int
    layer_norm_eps: float
    max_positions: int
    first_token: int
    last_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseForm:
    """How a sparse head weighs the vocabulary. What is left unsaid is tercet's own head, see tercet.models.heads.

    residual: z = LayerNorm(GELU(T h) + h); without it z = LayerNorm(GELU(T h)), as in BERT's head for masked words
    projected: z goes through a low-rank projection before the decoder
    bonus: a token adds a weight of its own to its own vocabulary entry
    term_frequency: the bonus grows with the logarithm of how often the word stands in the text
    side: a side network's states are added to the projected ones; its width is the decoder's rank
    specials: [CLS] and [SEP] speak, too, as in SPLADE
    pooling: over tokens, "max" (SPLADE v2) or "sum" (SPLADE v1)
    logarithms: how often log1p is taken after relu; 2 is what sentence-transformers calls "log1p_relu" (OpenSearch v3)
    length_normalization: a long text says more and so matches more; its weights are divided by its vector's length to
        this power, as BM25's b does. 0 for not at all, 1 would make scores cosines
    """

    residual: bool = True
    projected: bool = True
    bonus: bool = True
    term_frequency: bool = False
    side: SideNetwork | None = None
    specials: bool = False
    pooling: Literal["max", "sum"] = "max"
    logarithms: int = 1
    length_normalization: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SparseForm:
        """Read what `dataclasses.asdict` wrote; raises TypeError at what this version does not know."""
        side = values.get("side")
        return cls(**{**values, "side": None if side is None else SideNetwork(**side)})


#: The length of a sparse vector at which normalization changes nothing: a passage of tercet-mini's.
USUAL_LENGTH = 12.0
#: BERT's own head for masked words: what SPLADE models are made of.
MASKED_WORDS = SparseForm(residual=False, projected=False, bonus=False, specials=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What stands in tercet.json.

    heads: those that the checkpoint holds; a SPLADE or a ColBERT from elsewhere has one of them
    activation_ranges: for each linear layer, the least and greatest input seen on a sample; int8 uses them as fixed
        scales, so that a text's vectors do not depend on the other texts of its batch
    skiplist: tokens of documents that late interaction leaves out (punctuation)
    query_marker, document_marker: the token after [CLS] that tells the trunk which side it reads, as ColBERT's
        "[unused0]" and "[unused1]" (Khattab & Zaharia, 2020); "" for none
    late_specials: [CLS], [SEP] and the marker have rows in the multi-vector, too, as ColBERT's have
    query_augmentation: the multi-vector of a query that has fewer tokens than this gets a row for each [MASK] that is
        put behind it, up to so many tokens, special ones included; 0 for none. Longer queries stay whole, up to
        max_query_tokens: where both numbers are equal every query has this length, as in ColBERT
    attend_to_augmentation: the query's own tokens see those [MASK]s. Otherwise only they see the query
    late_importance: how much the weight of a query's words in its sparse vector decides what their rows count in late
        interaction, see `tercet.scoring.importance`; 0 for not at all
    weights_hash, tokenizer_hash: sha256 of model.safetensors and tokenizer.json
    """

    name: str
    hidden: int
    layers: int
    attention_heads: int
    intermediate: int
    layer_norm_eps: float
    vocabulary_size: int
    max_positions: int
    late_dim: int
    sparse_rank: int
    sparse_terms: int
    max_query_tokens: int
    max_document_tokens: int
    query_prompt: str = ""
    document_prompt: str = ""
    skiplist: tuple[int, ...] = ()
    query_marker: str = ""
    document_marker: str = ""
    late_specials: bool = False
    query_augmentation: int = 0
    attend_to_augmentation: bool = False
    late_importance: float = 0.0
    heads: tuple[HeadName, ...] = HEADS
    sparse_form: SparseForm = SparseForm()
    activation_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weights_hash: str = ""
    tokenizer_hash: str = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.query_augmentation > self.max_query_tokens:
            raise CheckpointError(
                f"{self.name!r} fills queries up to {self.query_augmentation} tokens and cuts them at "
                f"{self.max_query_tokens}; raise max_query_tokens, or lower query_augmentation"
            )
        if self.late_importance and not {"sparse", "late"} <= set(self.heads):
            raise CheckpointError(
                f"{self.name!r} weighs the rows of late interaction by its sparse vectors, and holds only "
                f"{' and '.join(self.heads)}; set late_importance to 0"
            )

    def to_json(self) -> str:
        return json.dumps(self._said(), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, place: Path) -> ModelConfig:
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise CheckpointError(f"{place} is not JSON ({error}); copy the checkpoint folder again") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = values.get("format") if isinstance(values, dict) else values
            raise CheckpointError(f"{place} has format {found!r}, this version of tercet reads format {FORMAT}")
        known = {entry.name for entry in dataclasses.fields(cls)}
        if wrong := (set(values) - known) | (known - set(_LATER) - set(values)):
            raise CheckpointError(f"{place} has missing or unknown entries: {', '.join(sorted(wrong))}")
        values["skiplist"] = tuple(values["skiplist"])
        values["heads"] = tuple(values.get("heads", HEADS))
        try:
            values["sparse_form"] = SparseForm.from_dict(values.get("sparse_form", {}))
        except TypeError as error:
            raise CheckpointError(f"{place}: sparse_form is unknown to this version of tercet ({error})") from error
        values["activation_ranges"] = {name: tuple(pair) for name, pair in values["activation_ranges"].items()}
        return cls(**values)

    def fingerprint(self, precision: str) -> str:
        """Changes whenever the same text would get other vectors."""
        shaping = {**self._said(), "precision": precision}
        del shaping["name"]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:32]

    def _said(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in _LATER or value != _LATER[name]}


#: Entries that came after the first folders, with what these do. Left unsaid where they say the same: such a folder is
#: read by older versions, and an index that an older version filled knows its encoder again.
_LATER: Mapping[str, object] = {
    "query_marker": "",
    "document_marker": "",
    "late_specials": False,
    "query_augmentation": 0,
    "attend_to_augmentation": False,
    "late_importance": 0.0,
    "heads": HEADS,
    "sparse_form": dataclasses.asdict(SparseForm()),
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder whose config has been read and whose files are there."""

    folder: Path
    config: ModelConfig

    @classmethod
    def open(cls, folder: str | Path) -> Checkpoint:
        """Raises CheckpointError where a file is missing or the JSON is of another kind."""
        place = Path(folder)
        if missing := [name for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE) if not (place / name).is_file()]:
            raise CheckpointError(
                f"{str(place)!r} is not a tercet checkpoint: {', '.join(missing)} not found; "
                f"`tercet model import` makes one of another library's model"
            )
        return cls(place, ModelConfig.from_json((place / CONFIG_FILE).read_text(encoding="utf-8"), place / CONFIG_FILE))

    def weights(self) -> Weights:
        """Every tensor by name, after the file's hash was compared (.04 s for tercet-mini)."""
        path = self._whole(WEIGHTS_FILE, self.config.weights_hash)
        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path} cannot be read ({error}); copy it again") from error

    def tokenizer(self) -> Tokenizer:
        path = self._whole(TOKENIZER_FILE, self.config.tokenizer_hash)
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare ones
            raise CheckpointError(f"{path} cannot be read ({error}); copy it again") from error
        # Limits and padding are the encoder's; settings that came with the file would cut silently.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _whole(self, name: str, expected: str) -> Path:
        path = self.folder / name
        found = file_hash(path)
        if found != expected:
            raise CheckpointError(
                f"{path} is not the file that tercet.json describes: its sha256 begins {found[:8]}, expected "
                f"{expected[:8]}; copy the whole folder again"
            )
        return path

    def graph(self, precision: Precision) -> bytes:
        path = self.folder / graph_file(precision)
        if not path.is_file():
            raise CheckpointError(f"{path} not found; tercet.models.graph.write_graphs(folder) writes it")
        return path.read_bytes()


def token_id(tokenizer: Tokenizer, token: str, name: str) -> int:
    """Raises CheckpointError where the tokenizer of the model `name` has no such token."""
    index = tokenizer.token_to_id(token)
    if index is None:
        raise CheckpointError(f"the tokenizer of {name!r} has no {token}; is it BERT's?")
    return int(index)


def graph_file(precision: Precision) -> str:
    return f"graph.{precision}.onnx"


def default_checkpoint() -> Path:
    """The folder of `tercet-mini`, which is shipped inside the package."""
    return Path(str(files("tercet"))) / "checkpoints" / "tercet-mini"


def file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def quantize_rows(matrix: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each row to 8-bit integers with one scale a row, row ≈ scale · integers, so that products cannot overflow.

    The int8 product of processors without VNNI (vpmaddubsw) adds two neighbouring products in 16 bits. With activations
    of up to 255, two neighbours whose magnitudes sum to at most 128 always fit. Few do not by themselves, so this
    costs little precision, where the usual remedy, 7-bit weights, halves it.

    matrix: (n_rows, dim)
    returns: (n_rows, dim) int8, (n_rows,) float32
    """
    rows = matrix.astype(np.float32)
    magnitudes = np.abs(rows)
    pairs = magnitudes[:, 0::2] + np.pad(magnitudes[:, 1::2], ((0, 0), (0, rows.shape[1] % 2)))
    # Rounding may add ½ to each of the two: 127 leaves room for that.
    scales = np.maximum(pairs.max(axis=1), 1e-12) / 127
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def dequantize_rows(integers: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    return integers.astype(np.float32) * scales[:, None]
