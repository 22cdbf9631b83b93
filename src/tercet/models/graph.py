"""The runtime's graph, written by hand: a ModelConfig in, an ONNX graph without weights out.

One pass over the trunk, three outputs, and two on the way to the third, for explanations:
    input_ids, attention_mask, word_mask: (batch, n_tokens)
    dense: (batch, hidden) of length 1 · late: (batch, n_tokens, late_dim) unit rows
    sparse: (batch, sparse_terms) logits, the maximum over tokens of
        words: (batch, n_tokens, sparse_rank) times the decoder's rows, and of
        own: (batch, n_tokens) of each token's own term; of a head that pools by sum: weights, summed
`attention_mask` is 1 at real tokens; `word_mask` at those of them that the sparse head reads: not at [CLS] and [SEP],
unless its form has them. A checkpoint with fewer heads has fewer outputs.

Written by hand because the exporters unfold attention and normalisation into dozens of nodes, which ONNX Runtime then
has to find again. Weights are declared external; the encoder hands them over from model.safetensors, so a checkpoint
holds them once, whatever the precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tercet.checkpoint import SIDE, TILE_TERMS, Checkpoint, ModelConfig, Precision, SideNetwork, graph_file

CONTRIB = "com.microsoft"

#: Both say the size of a BERT.
Shape: TypeAlias = ModelConfig | SideNetwork


def write_graphs(folder: str | Path) -> None:
    """Write the graph of each precision into a checkpoint's folder."""
    checkpoint = Checkpoint.open(folder)
    precisions: tuple[Precision, ...] = ("int8", "f32")
    for precision in precisions:
        model = build_graph(checkpoint.config, precision)
        (checkpoint.folder / graph_file(precision)).write_bytes(model.SerializeToString())


def build_graph(config: ModelConfig, precision: Precision) -> onnx.ModelProto:
    """The graph of trunk and heads; `tercet.runtime.runtime_weights` names its weights alike."""
    return _Graph(config, precision).build()


def build_calibration_graph(config: ModelConfig) -> onnx.ModelProto:
    """The f32 graph, whose outputs are the inputs of all linear layers, under the layers' names."""
    graph = _Graph(config, "f32")
    model = graph.build()
    del model.graph.output[:]
    for layer, states in graph.linear_inputs.items():
        model.graph.node.append(helper.make_node("Identity", [states], [layer]))
        model.graph.output.append(helper.make_tensor_value_info(layer, TensorProto.FLOAT, None))
    return model


class _Graph:
    """Nodes and initializers; each method adds one part of the model and returns its output's name."""

    def __init__(self, config: ModelConfig, precision: Precision) -> None:
        self.config = config
        self.precision = precision
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.linear_inputs: dict[str, str] = {}

    def build(self) -> onnx.ModelProto:
        states = self.trunk(self.config)
        parts = {"dense": self.dense, "late": self.late, "sparse": self.sparse}
        for head, part in parts.items():
            if head in self.config.heads:
                part(states)
        graph = helper.make_graph(
            self.nodes,
            self.config.name,
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "n_tokens"])]
            + [
                helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "n_tokens"])
                for name in ("attention_mask", "word_mask")
            ],
            self.outputs(),
            self.initializers,
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="tercet")

    def outputs(self) -> list[onnx.ValueInfoProto]:
        config = self.config
        by_head: dict[str, dict[str, list[str | int]]] = {
            "dense": {"dense": ["batch", config.hidden]},
            "late": {"late": ["batch", "n_tokens", config.late_dim]},
            "sparse": {
                "sparse": ["batch", config.sparse_terms],
                "words": ["batch", "n_tokens", config.sparse_rank],
                "own": ["batch", "n_tokens"],
            },
        }
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for head, outputs in by_head.items()
            if head in config.heads
            for name, shape in outputs.items()
        ]

    # --- the parts of the model, in the order in which a text passes them ---

    def trunk(self, shape: Shape, prefix: str = "") -> str:
        """A BERT from token ids to states, (batch, n_tokens, hidden); `prefix` stands before its weights' names."""
        name, hidden = f"{prefix}embeddings", shape.hidden
        self.weight(f"{name}.word", (self.config.vocabulary_size, hidden), TensorProto.INT8)
        self.weight(f"{name}.word.scale", (self.config.vocabulary_size, 1))
        self.weight(f"{name}.position", (shape.max_positions, hidden))  # the type embedding is added to it
        rows = self.node("Cast", [self.node("Gather", [f"{name}.word", "input_ids"])], to=TensorProto.FLOAT)
        words = self.node("Mul", [rows, self.node("Gather", [f"{name}.word.scale", "input_ids"])])
        length = self.node("Gather", [self.node("Shape", ["input_ids"]), self.constant(np.int64(1))])
        end = self.node("Unsqueeze", [length, self.constant(np.array([0]))])
        positions = self.node(
            "Slice", [f"{name}.position", self.constant(np.array([0])), end, self.constant(np.array([0]))]
        )
        states = self.norm(f"{name}.norm", self.node("Add", [words, positions]), shape)
        for layer in range(shape.layers):
            states = self.layer(f"{prefix}layer.{layer}", states, shape)
        return states

    def layer(self, name: str, states: str, shape: Shape) -> str:
        hidden, intermediate = shape.hidden, shape.intermediate
        attended = self.attention(f"{name}.attention", states, shape)
        projected = self.linear(f"{name}.output", attended, hidden, hidden)
        states = self.skip_norm(f"{name}.attention_norm", projected, states, shape)
        inner = self.linear(f"{name}.up", states, hidden, intermediate, bias=False)
        self.weight(f"{name}.up.bias", (intermediate,))
        inner = self.node("BiasGelu", [inner, f"{name}.up.bias"], domain=CONTRIB)
        return self.skip_norm(f"{name}.norm", self.linear(f"{name}.down", inner, intermediate, hidden), states, shape)

    def attention(self, name: str, states: str, shape: Shape) -> str:
        hidden = shape.hidden
        self.weight(f"{name}.bias", (3 * hidden,))
        self.linear_inputs[name] = states
        attributes: dict[str, Any] = {"num_heads": shape.attention_heads, "domain": CONTRIB}
        if self.precision == "f32":
            self.weight(f"{name}.weight", (hidden, 3 * hidden))
            inputs = [states, f"{name}.weight", f"{name}.bias", "attention_mask"]
            return self.node("Attention", inputs, **attributes)
        integers, scale, zero = self.quantize(name, self.smooth(name, states, hidden))
        self.weight(f"{name}.weight", (hidden, 3 * hidden), TensorProto.INT8)
        self.weight(f"{name}.weight.scale", (3 * hidden,))
        zeros = self.constant(np.zeros(3 * hidden, np.int8))
        inputs = [
            integers,
            f"{name}.weight",
            f"{name}.bias",
            scale,
            f"{name}.weight.scale",
            "attention_mask",
            zero,
            zeros,
        ]
        return self.node("QAttention", inputs, **attributes)

    def dense(self, states: str) -> None:
        """Mean over real tokens, length 1: sentence-transformers' pooling of this trunk."""
        mask = self.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        row = self.node("Unsqueeze", [mask, self.constant(np.array([1]))])  # (batch, 1, n_tokens)
        total = self.node("Squeeze", [self.node("MatMul", [row, states]), self.constant(np.array([1]))])
        # The mean's divisor falls out when the sum is brought to length 1.
        self.node("LpNormalization", [total], output="dense", axis=-1, p=2)

    def late(self, states: str) -> None:
        projected = self.linear("late.project", states, self.config.hidden, self.config.late_dim, bias=False)
        self.node("LpNormalization", [projected], output="late", axis=-1, p=2)

    def sparse(self, states: str) -> None:
        """SparseHead of tercet.models.heads, in tiles of the vocabulary, maximum before everything monotone."""
        config, hidden, form = self.config, self.config.hidden, self.config.sparse_form
        transformed = self.linear("sparse.transform", states, hidden, hidden, bias=False)
        self.weight("sparse.transform.bias", (hidden,))
        transformed = self.node("BiasGelu", [transformed, "sparse.transform.bias"], domain=CONTRIB)
        if form.residual:
            normed = self.skip_norm("sparse.norm", transformed, states, config)
        else:
            normed = self.norm("sparse.norm", transformed, config)
        projected = normed
        if form.projected:
            projected = self.linear("sparse.project", normed, hidden, config.sparse_rank, bias=False)
        if form.side:
            projected = self.node("Add", [projected, self.side(form.side)])
        is_word = self.node("Cast", ["word_mask"], to=TensorProto.BOOL)
        is_word_row = self.node("Unsqueeze", [is_word, self.constant(np.array([2]))])
        # Padding and special tokens take the place of the text's first word: twice the same never changes a maximum.
        words = self.node("Where", [is_word_row, projected, self.first_word(projected)], output="words")
        self.weight("sparse.bias", (config.sparse_terms,))
        own = self.own_term_logits(normed, projected, is_word)
        if form.pooling == "sum":
            self.sum_over_tokens(words, is_word_row, own)
            return
        pooled = self.max_over_tokens(words)
        if form.bonus:
            pooled = self.node("ScatterElements", [pooled, self.columns(), own], axis=1, reduction="max")
        self.node("Add", [self.without_spare(pooled), "sparse.bias"], output="sparse")

    def side(self, shape: SideNetwork) -> str:
        """(batch, n_tokens, rank): what the side network says of each token, through BERT's transform for words."""
        states = self.trunk(shape, SIDE)
        transformed = self.linear(f"{SIDE}transform", states, shape.hidden, shape.hidden, bias=False)
        self.weight(f"{SIDE}transform.bias", (shape.hidden,))
        transformed = self.node("BiasGelu", [transformed, f"{SIDE}transform.bias"], domain=CONTRIB)
        return self.norm(f"{SIDE}transform.norm", transformed, shape)

    def first_word(self, projected: str) -> str:
        """(batch, n_tokens, rank) → (batch, 1, rank): after [CLS], or wherever the marker of a side leaves it."""
        if self.config.query_marker or self.config.document_marker:
            first = self.node("ArgMax", ["word_mask"], axis=1, keepdims=1)
            row = self.node("Unsqueeze", [first, self.constant(np.array([2]))])
            return self.node("GatherND", [projected, row], batch_dims=1)
        second = [self.constant(np.array([bound])) for bound in (1, 2, 1)]
        return self.node("Slice", [projected, *second])

    def sum_over_tokens(self, words: str, is_word_row: str, own: str) -> None:
        """SPLADE v1: the weights of a text's tokens summed, a tile of terms at a time. `sparse` are weights here.

        A token's own word has its bonus: what the bonus makes it weigh more is added to the sum.
        """
        form = self.config.sparse_form
        mask = self.node("Cast", [is_word_row], to=TensorProto.FLOAT)
        tiles = []
        for start, width, logits in self.decoder_tiles(words):
            bounds = [self.constant(np.array([at])) for at in (start, start + width, 0)]
            weights = self.weights_of(self.node("Add", [logits, self.node("Slice", ["sparse.bias", *bounds])]))
            # (batch, n_tokens, width) · (batch, n_tokens, 1): what is no word adds nothing.
            weights = self.node("Mul", [weights, mask])
            tiles.append(self.node("ReduceSum", [weights, self.constant(np.array([1]))], keepdims=0))
        summed = self.with_spare(tiles)
        if form.bonus:
            columns = self.columns()
            spare = self.constant(np.full(1, -1e9, np.float32))  # what is no term weighs nothing
            bias = self.node("Gather", [self.node("Concat", ["sparse.bias", spare], axis=0), columns])
            alone = self.node("Sub", [own, "own_bonus"])
            gain = self.node(
                "Sub",
                [self.weights_of(self.node("Add", [logits, bias])) for logits in (own, alone)],
            )
            summed = self.node("ScatterElements", [summed, columns, gain], axis=1, reduction="add")
        self.node("Identity", [self.without_spare(summed)], output="sparse")

    def weights_of(self, logits: str) -> str:
        """log1p(relu(x)), as often as the form says."""
        weights = self.node("Relu", [logits])
        for _ in range(self.config.sparse_form.logarithms):
            weights = self.node("Log", [self.node("Add", [weights, self.constant(np.float32(1))])])
        return weights

    def columns(self) -> str:
        """(batch, n_tokens): the column of each token's own term."""
        table = self.external("sparse.columns", (self.config.vocabulary_size,), TensorProto.INT64)
        return self.node("Gather", [table, "input_ids"])

    def with_spare(self, tiles: Sequence[str]) -> str:
        """The tiles side by side, and one column more, of the same batch size: the first again, which nobody reads."""
        bounds = [self.constant(np.array([at])) for at in (0, 1, 1)]
        return self.node("Concat", [*tiles, self.node("Slice", [tiles[0], *bounds])], axis=1)

    def without_spare(self, pooled: str) -> str:
        bounds = [self.constant(np.array([at])) for at in (0, self.config.sparse_terms, 1)]
        return self.node("Slice", [pooled, *bounds])

    def max_over_tokens(self, words: str) -> str:
        """(batch, n_tokens, rank) → (batch, sparse_terms + 1): the last column takes the tokens that are no terms."""
        axis = np.array([1])
        tiles = [
            self.node("ReduceMax", [logits, self.constant(axis)], keepdims=0)
            for _, _, logits in self.decoder_tiles(words)
        ]
        return self.with_spare(tiles)

    def decoder_tiles(self, words: str) -> Iterator[tuple[int, int, str]]:
        """The first term of each tile, how many it has, and their logits: (batch, n_tokens, width)."""
        terms = self.config.sparse_terms
        self.linear_inputs["sparse.decoder"] = words
        quantized = self.quantize("sparse.decoder", words) if self.precision == "int8" else None
        for tile, start in enumerate(range(0, terms, TILE_TERMS)):
            width = min(TILE_TERMS, terms - start)
            logits = self.matmul(f"sparse.decoder.{tile}", words, self.config.sparse_rank, width, quantized)
            yield start, width, logits

    def own_term_logits(self, normed: str, projected: str, is_word: str) -> str:
        """(batch, n_tokens): each token's logit for its own word with the lexical bonus, -1e9 where it is no word."""
        config = self.config
        nothing = self.constant(np.float32(-1e9))
        if not config.sparse_form.bonus:
            zeros = self.node("Mul", [self.node("Cast", [is_word], to=TensorProto.FLOAT), self.constant(np.float32(0))])
            return self.node("Add", [zeros, nothing], output="own")
        self.weight("sparse.decoder.rows", (config.vocabulary_size, config.sparse_rank), TensorProto.INT8)
        self.weight("sparse.decoder.rows.scale", (config.vocabulary_size,))
        rows = self.node("Cast", [self.node("Gather", ["sparse.decoder.rows", "input_ids"])], to=TensorProto.FLOAT)
        dot = self.node("ReduceSum", [self.node("Mul", [rows, projected]), self.constant(np.array([2]))], keepdims=0)
        dot = self.node("Mul", [dot, self.node("Gather", ["sparse.decoder.rows.scale", "input_ids"])])
        # The head's own bias stands in the table of terms.
        by_term = self.node("Gather", [self.external("sparse.term_bonus", (config.vocabulary_size,)), "input_ids"])
        bonus = self.node("Softplus", [self.node("Add", [self.per_token("sparse.bonus", normed), by_term])])
        if config.sparse_form.term_frequency:
            self.weight("sparse.frequency.bias", (1,))
            gain = self.node("Add", [self.per_token("sparse.frequency", normed), "sparse.frequency.bias"])
            gain = self.node("Mul", [self.node("Softplus", [gain]), self.node("Log", [self.counts()])])
            bonus = self.node("Add", [bonus, gain])
        bonus = self.node("Identity", [bonus], output="own_bonus")
        return self.node("Where", [is_word, self.node("Add", [dot, bonus]), nothing], output="own")

    def per_token(self, name: str, states: str) -> str:
        """(batch, n_tokens): one number from each token's state."""
        self.weight(f"{name}.weight", (self.config.hidden, 1))
        return self.node("Squeeze", [self.node("MatMul", [states, f"{name}.weight"]), self.constant(np.array([2]))])

    def counts(self) -> str:
        """(batch, n_tokens): how often each token stands in its text, itself included."""
        ids = [self.node("Unsqueeze", ["input_ids", self.constant(np.array([axis]))]) for axis in (1, 2)]
        same = self.node("Cast", [self.node("Equal", ids)], to=TensorProto.FLOAT)
        return self.node("ReduceSum", [same, self.constant(np.array([2]))], keepdims=0)

    # --- building blocks ---

    def linear(self, name: str, states: str, inputs: int, outputs: int, *, bias: bool = True) -> str:
        self.linear_inputs[name] = states
        quantized = None
        if self.precision == "int8":
            quantized = self.quantize(name, self.smooth(name, states, inputs))
        product = self.matmul(name, states, inputs, outputs, quantized)
        if not bias:
            return product
        self.weight(f"{name}.bias", (outputs,))
        return self.node("Add", [product, f"{name}.bias"])

    def matmul(self, name: str, states: str, inputs: int, outputs: int, quantized: tuple[str, str, str] | None) -> str:
        if quantized is None:
            self.weight(f"{name}.weight", (inputs, outputs))
            return self.node("MatMul", [states, f"{name}.weight"])
        integers, scale, zero = quantized
        self.weight(f"{name}.weight", (inputs, outputs), TensorProto.INT8)
        self.weight(f"{name}.weight.scale", (outputs,))
        zeros = self.constant(np.zeros(outputs, np.int8))
        operands = [integers, f"{name}.weight", scale, f"{name}.weight.scale", zero, zeros]
        return self.node("MatMulIntegerToFloat", operands, domain=CONTRIB)

    def smooth(self, name: str, states: str, inputs: int) -> str:
        """Divide each channel by its own factor, which the weights take over (SmoothQuant, Xiao et al., 2023).

        A handful of a BERT's channels are ten times larger than all others; one scale for all would drown the rest.
        """
        self.weight(f"{name}.smooth.inverse", (inputs,))
        return self.node("Mul", [states, f"{name}.smooth.inverse"])

    def quantize(self, name: str, states: str) -> tuple[str, str, str]:
        """Round to uint8 by the range that was seen when the model was built: (integers, scale, zero point)."""
        low, high = self.config.activation_ranges[name]
        low, high = min(low, 0.0), max(high, 0.0)
        step = max(high - low, 1e-6) / 255
        scale = self.constant(np.float32(step))
        zero = self.constant(np.uint8(round(-low / step)))
        return self.node("QuantizeLinear", [states, scale, zero]), scale, zero

    def norm(self, name: str, states: str, shape: Shape) -> str:
        self.weight(f"{name}.weight", (shape.hidden,))
        self.weight(f"{name}.bias", (shape.hidden,))
        inputs = [states, f"{name}.weight", f"{name}.bias"]
        return self.node("LayerNormalization", inputs, axis=-1, epsilon=shape.layer_norm_eps)

    def skip_norm(self, name: str, states: str, residual: str, shape: Shape) -> str:
        """LayerNorm(states + residual) as one kernel."""
        self.weight(f"{name}.weight", (shape.hidden,))
        self.weight(f"{name}.bias", (shape.hidden,))
        inputs = [states, residual, f"{name}.weight", f"{name}.bias"]
        return self.node("SkipLayerNormalization", inputs, domain=CONTRIB, epsilon=shape.layer_norm_eps)

    def node(self, kind: str, inputs: Sequence[str], *, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: object) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name: str, shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> None:
        self.external(name, shape, kind)

    def external(self, name: str, shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> str:
        """Declare a weight that is handed over when the session is made."""
        tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
        size = int(np.prod(shape)) * (1 if kind == TensorProto.INT8 else 8 if kind == TensorProto.INT64 else 4)
        for key, value in (("location", "model.safetensors"), ("offset", "0"), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        self.initializers.append(tensor)
        return name
