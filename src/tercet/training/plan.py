"""How a model is trained, as a value: vary it with `dataclasses.replace`; it is saved as JSON beside what it shaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from tercet.training.pooling import Pooling
from tercet.training.settings import JsonPlan, check_choice, check_number, check_whole

Head = Literal["dense", "sparse", "late"]
HEADS: tuple[Head, ...] = get_args(Head)
Regularizer = Literal["flops", "l1", "df_flops"]

#: What a head's raw score is multiplied by before a softmax sees it. A cosine spans 2 and has to tell one document from
#: a thousand; a sparse dot product spans tens by itself; MaxSim adds up a cosine for each query token.
DEFAULT_SCALES: Mapping[str, float] = MappingProxyType({"dense": 20.0, "sparse": 1.0, "late": 3.0})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan(JsonPlan):
    """What is trained, on what, against what.

    **What.** heads: those whose scores are learnt; "dense" has no weights of its own, it learns with the trunk.
    unfrozen_layers: 0 trains the heads alone, on token states that are computed once; n trains the trunk's last n
    layers, too; "all" trains the embeddings as well. pooling: "max" is SPLADE v2, "sum" v1; the checkpoint
    records it. queries: "inference-free" weighs a query's words with a learnt table instead of the model.

    **Late interaction**, recorded in the checkpoint: late_dim: of a token vector; a head of another size than the
    model's begins anew, None keeps it, or makes 96. query_augmentation: queries of fewer tokens are filled up with
    [MASK]s, whose vectors count. markers: [unused0] and [unused1] tell the trunk which side it reads; all heads read
    them, so those that the model has must all be trained (ColBERT, Khattab & Zaharia, 2020).

    **Batches.** batch_size: queries whose documents are each other's negatives. negatives: hard ones a query brings
    along. chunk_size: texts that are in memory at once (gradient caching): the gradient is that of the whole batch.
    accumulate: batches whose gradients are added before a step; their documents do not meet. one_source_share: part of
    the examples that is put together with others of its own file.

    **Losses**, as weights, for each head: contrast (info_nce, in-batch and hard negatives), margin_ranking with its
    margin; margin_mse and kl_divergence against the scores that the data bring; self_distillation: KL to the mean of
    our own heads' scores, weighted by teacher_weights (BGE-M3, Chen et al., 2024). scales: see DEFAULT_SCALES.
    margin_ranking and margin_mse see raw scores.

    **Sparsity**, for each side: the regularizer, and either a target, the mean number of terms that λ is steered to, or
    None and a fixed λ. Both rise over warm_up_steps, quadratically; None is a tenth of the steps.

    **Optimizer.** AdamW without weight decay, gradients clipped at length 1. learning_rate is the heads'; it rises
    over a twentieth of the steps and falls to a fiftieth.

    **Run.** device and precision "auto": a GPU and its bf16 where there are. held_out: queries to measure nDCG@10 with,
    among distractors documents more. Every `…_every` counts steps.

    Raises:
        ValueError: a value that can never work, or two that contradict each other.
    """

    heads: tuple[Head, ...] = ("sparse", "late")
    unfrozen_layers: int | Literal["all"] = 0
    pooling: Pooling = "max"
    queries: Literal["model", "inference-free"] = "model"
    late_dim: int | None = None
    query_augmentation: int | None = None
    markers: bool = False

    steps: int = 1000
    batch_size: int = 32
    negatives: int = 0
    chunk_size: int | None = None
    accumulate: int = 1
    one_source_share: float = 0.5
    max_query_tokens: int = 40
    max_document_tokens: int = 128

    contrast: float = 1.0
    margin_ranking: float = 0.0
    margin: float = 1.0
    margin_mse: float = 0.0
    kl_divergence: float = 0.0
    temperature: float = 1.0
    teacher_temperature: float = 1.0
    self_distillation: float = 1.0
    teacher_weights: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(HEADS, 1.0))
    scales: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_SCALES))

    query_regularizer: Regularizer = "flops"
    document_regularizer: Regularizer = "flops"
    target_query_terms: int | None = 20
    target_document_terms: int | None = 120
    query_lambda: float = 1e-4
    document_lambda: float = 1e-4
    lambda_rate: float = 0.05
    lambda_damping: float = 0.5
    warm_up_steps: int | None = None
    guard_patience: int = 50

    learning_rate: float = 1e-3
    trunk_learning_rate: float = 2e-5

    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "f32", "bf16"] = "auto"
    held_out: int = 200
    distractors: int = 500
    evaluate_every: int = 250
    save_every: int = 250
    log_every: int = 50

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", tuple(self.heads))
        check_choice("heads", self.heads, HEADS)
        for name, allowed in (
            ("pooling", ("max", "sum")),
            ("queries", ("model", "inference-free")),
            ("query_regularizer", get_args(Regularizer)),
            ("document_regularizer", get_args(Regularizer)),
            ("precision", ("auto", "f32", "bf16")),
        ):
            check_choice(name, (getattr(self, name),), allowed)
        for name in ("steps", "batch_size", "accumulate", "max_query_tokens", "max_document_tokens", "guard_patience",
                     "evaluate_every", "save_every", "log_every"):  # fmt: skip
            check_whole(name, getattr(self, name), least=1)
        for name in ("negatives", "held_out", "distractors"):
            check_whole(name, getattr(self, name), least=0)
        for name in ("chunk_size", "target_query_terms", "target_document_terms", "warm_up_steps", "late_dim",
                     "query_augmentation"):  # fmt: skip
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), least=1)
        if self.unfrozen_layers != "all":
            check_whole("unfrozen_layers", self.unfrozen_layers, least=0)
        for name in ("contrast", "margin_ranking", "margin_mse", "kl_divergence", "self_distillation", "query_lambda",
                     "document_lambda", "lambda_rate", "lambda_damping", "margin", "one_source_share"):  # fmt: skip
            check_number(name, getattr(self, name))
        for name in ("temperature", "teacher_temperature", "learning_rate", "trunk_learning_rate"):
            check_number(name, getattr(self, name), positive=True)
        for name in ("teacher_weights", "scales"):
            given = dict(getattr(self, name))
            check_choice(name, tuple(given), HEADS)
            for head, value in given.items():
                check_number(f"{name}[{head!r}]", value, positive=name == "scales")
            object.__setattr__(self, name, {**dict.fromkeys(HEADS, 1.0), **given})
        self._check_together()

    def _check_together(self) -> None:
        if not self.heads:
            raise ValueError(f"heads is empty; name at least one of {', '.join(HEADS)}")
        if "dense" in self.heads and self.unfrozen_layers == 0:
            raise ValueError(
                "the dense head has no weights of its own, so with a frozen trunk nothing of it can be trained; "
                "set unfrozen_layers, or leave dense out of heads"
            )
        if not any((self.contrast, self.margin_ranking, self.margin_mse, self.kl_divergence, self.self_distillation)):
            raise ValueError("every loss has weight 0; give one of them a weight, as contrast=1")
        needing = [name for name in ("margin_ranking", "margin_mse", "kl_divergence") if getattr(self, name)]
        if needing and not self.negatives:
            raise ValueError(f"{' and '.join(needing)} compare a positive with its own negatives; set negatives")
        if self.batch_size == 1 and not self.negatives:
            raise ValueError("a batch of one query has no negatives at all; raise batch_size, or set negatives")
        if self.queries == "inference-free" and "sparse" not in self.heads:
            raise ValueError("queries='inference-free' is about the sparse head; add it to heads")
        late = [name for name in ("late_dim", "query_augmentation", "markers") if getattr(self, name)]
        if late and "late" not in self.heads:
            raise ValueError(f"{' and '.join(late)} {'are' if late[1:] else 'is'} about the late head; add it to heads")

    @property
    def needs_scores(self) -> bool:
        """Whether the data must bring a teacher's scores."""
        return bool(self.margin_mse or self.kl_divergence)
