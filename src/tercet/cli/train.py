"""`tercet train …`: files in, calls of `tercet.training` out. Needs `pip install tercet[train]`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from tercet.errors import InvalidTrainingData, MissingExtra

if TYPE_CHECKING:
    from tercet.training.mlm_plan import MlmPlan
    from tercet.training.plan import TrainingPlan
    from tercet.training.run import Observer, Row
    from tercet.training.settings import JsonPlan

Plan = TypeVar("Plan", bound="JsonPlan")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Train the model, or a BERT of your own, on your own pairs.\n\n"
        "[bold]1.[/] Write pairs.jsonl, one object a line: "
        '{"query": "how do I rotate keys?", "positive": "Keys are rotated with …"}\n\n'
        "[bold]2.[/] [bold]tercet train mine[/] pairs.jsonl --in kb --into mined.jsonl "
        "adds documents that look right and are not.\n\n"
        "[bold]3.[/] [bold]tercet train heads[/] mined.jsonl --negatives 4 --into my-model "
        "trains, and tells nDCG@10 on queries that were held out.\n\n"
        "[bold]4.[/] HybridIndex.open('kb', encoder=MiniEncoder('my-model')) searches with it.\n\n"
        "Before that, where there is much plain text and words that the model does not know: "
        "[bold]tercet train mlm[/] notes.txt --into start, and go on with --from start.\n\n"
        "docs/training.md says which loss to take when."
    ),
)

_HELP = {
    "splade": (
        "Train the sparse head: which words a text stands for, and how much.\n\n"
        "Frozen trunk: minutes on a processor, as token states are computed once. The number of terms is a target, "
        "which a weight is steered to; a run whose vectors die or go dense is stopped and says what to change."
    ),
    "colbert": (
        "Train the late head: one small vector for each token, compared by MaxSim.\n\n"
        "Learns fastest from a teacher's scores: --teacher with a cross-encoder, on mined negatives."
    ),
    "heads": (
        "Train sparse and late head together, and with --unfreeze the dense one, too.\n\n"
        "Each head also learns from the mean of all three (self-distillation). With an unfrozen trunk all three are "
        "trained, for the trunk is theirs together; have a GPU at hand, and --chunk-size where its memory is small."
    ),
}

Pairs = Annotated[
    list[Path],
    typer.Argument(
        metavar="PAIRS...",
        help='Files or folders of JSONL: {"query", "positive", "negatives": […], "scores": […]}; the last two are '
        "optional. Every bad line is named before anything is trained.",
    ),
]

Into = Annotated[Path, typer.Option("--into", help="Folder of the new model: checkpoint, plan, log and card.")]
Base = Annotated[
    str,
    typer.Option("--from", help="Where to begin: tercet-mini, a checkpoint folder, or a BERT's folder, its heads new."),
]
PlanFile = Annotated[
    Path | None, typer.Option("--plan", help="A plan as JSON; the options below change it.", dir_okay=False)
]
Steps = Annotated[int | None, typer.Option(help="Steps of the optimizer.")]
Unfreeze = Annotated[
    str | None, typer.Option(metavar="N|all", help="Layers of the trunk that learn, too, from the top.")
]
LearningRate = Annotated[float | None, typer.Option(help="Of the heads.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; found by itself.")]
Seed = Annotated[int | None, typer.Option(help="Of batches, and of whatever else is drawn.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --into.")]


def _command(kind: str) -> Callable[..., None]:
    def run(
        pairs: Pairs,
        into: Into,
        base: Base = "tercet-mini",
        plan_file: PlanFile = None,
        steps: Steps = None,
        batch_size: Annotated[
            int | None, typer.Option(help="Queries whose documents are each other's negatives: more is better.")
        ] = None,
        chunk_size: Annotated[
            int | None,
            typer.Option(help="Texts in memory at once (gradient caching): large batches in little memory."),
        ] = None,
        negatives: Annotated[
            int | None, typer.Option(help="Hard negatives of each query that take part; the files must hold them.")
        ] = None,
        teacher: Annotated[
            str | None,
            typer.Option(
                help="Score each positive and its negatives with this model first, and learn from the scores: a "
                "cross-encoder's or sentence-transformers folder, or a checkpoint of ours."
            ),
        ] = None,
        unfreeze: Unfreeze = None,
        learning_rate: LearningRate = None,
        target_document_terms: Annotated[int | None, typer.Option(help="Terms of a document's sparse vector.")] = None,
        target_query_terms: Annotated[int | None, typer.Option(help="Terms of a query's sparse vector.")] = None,
        dim: Annotated[
            int | None,
            typer.Option(help="Numbers of a token vector: 48, 64, 96, 128. Another size than the model's begins anew."),
        ] = None,
        augment: Annotated[
            int | None,
            typer.Option(help="Fill queries up to so many tokens with \\[MASK], whose vectors count (ColBERT: 32)."),
        ] = None,
        markers: Annotated[
            bool,
            typer.Option("--markers", help="Tell the trunk by a token whether it reads a query or a document."),
        ] = False,
        held_out: Annotated[int | None, typer.Option(help="Queries kept apart to measure nDCG@10 with.")] = None,
        device: Device = None,
        seed: Seed = None,
        resume: Resume = False,
    ) -> None:
        _need_torch()
        from tercet.training.data import read_examples
        from tercet.training.model import ThreeHeads
        from tercet.training.teachers import label, load_teacher
        from tercet.training.trainer import train

        changes = {
            "steps": steps,
            "batch_size": batch_size,
            "chunk_size": chunk_size,
            "negatives": negatives,
            "unfrozen_layers": _layers(unfreeze),
            "learning_rate": learning_rate,
            "target_document_terms": target_document_terms,
            "target_query_terms": target_query_terms,
            "late_dim": dim,
            "query_augmentation": augment,
            "markers": markers or None,
            "held_out": held_out,
            "device": device,
            "seed": seed,
            "kl_divergence": 1.0 if teacher else None,
        }
        plan = _plan(kind, plan_file, {name: value for name, value in changes.items() if value is not None})
        with _one_below_the_other():
            examples = read_examples(pairs, negatives=plan.negatives, scores=plan.needs_scores and not teacher)
        console = Console(highlight=False)
        console.print(f"{len(examples):,} examples, {' and '.join(plan.heads)} from {base}")
        if teacher:
            ThreeHeads.open(base)  # what is wrong with it is said before a teacher has worked for an hour
            examples = label(examples, load_teacher(teacher))

        report = train(base, examples, into, plan=plan, resume=resume, observe=_told_to(console, plan))
        for head, value in report.after.items():
            console.print(f"{head}: nDCG@10 {report.before[head]:.3f} → {value:.3f} on held-out queries")
        console.print(f"{into} is ready: HybridIndex.open('kb', encoder=MiniEncoder({str(into)!r}))", soft_wrap=True)

    return run


for _kind, _help in _HELP.items():
    app.command(_kind, help=_help)(_command(_kind))


@app.command()
def mine(
    context: typer.Context,
    pairs: Pairs,
    into: Annotated[Path, typer.Option("--into", help="The JSONL file to write.")],
    place: Annotated[Path, typer.Option("--in", help="The index whose documents are searched.")] = Path("kb"),
    negatives: Annotated[int, typer.Option(help="For each query.")] = 8,
    depth: Annotated[int, typer.Option(help="Hits of each search that are looked at.")] = 50,
    teacher: Annotated[
        str | None,
        typer.Option(help="Drop what this model scores above .95 of the positive, an unlabelled answer."),
    ] = None,
) -> None:
    """Add hard negatives: what a hybrid search ranks high for a query and is not its answer.

    [bold]tercet train mine pairs.jsonl --in kb --into mined.jsonl --negatives 8[/]
    """
    _need_torch()
    from tercet.index import HybridIndex
    from tercet.plan import SearchPlan
    from tercet.training.data import read_examples, write_examples
    from tercet.training.mining import mine as mine_examples
    from tercet.training.teachers import load_teacher

    plan = SearchPlan.for_k(depth)
    with _one_below_the_other():
        examples = read_examples(pairs)
    with HybridIndex.open(place, encoder=context.obj, create=False) as index:
        mined = mine_examples(
            examples,
            lambda queries: [[hit.text for hit in index.search(query, plan=plan)] for query in queries],
            negatives=negatives,
            teacher=load_teacher(teacher) if teacher else None,
        )
    write_examples(into, mined.examples)
    typer.echo(
        f"{len(mined.examples):,} examples with {negatives} negatives in {into}; {len(mined.short):,} had fewer; "
        f"{mined.dropped:,} candidates were dropped as answers"
    )


@app.command()
def mlm(
    texts: Annotated[
        list[Path],
        typer.Argument(
            metavar="TEXTS...",
            help='Files, or folders with .txt, .md and .jsonl: paragraphs of plain text, or {"text", "title"} a line. '
            "Every bad line is named before anything is trained.",
        ),
    ],
    into: Into,
    base: Base = "tercet-mini",
    plan_file: PlanFile = None,
    steps: Steps = None,
    batch_size: Annotated[int | None, typer.Option(help="Pieces of text in a step.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Of a piece; longer texts make several.")] = None,
    mask_share: Annotated[float | None, typer.Option(help="Part of a piece's words that is hidden.")] = None,
    unfreeze: Unfreeze = None,
    learning_rate: LearningRate = None,
    held_out: Annotated[int | None, typer.Option(help="Texts kept apart to measure with, at most a tenth.")] = None,
    device: Device = None,
    seed: Seed = None,
    resume: Resume = False,
) -> None:
    """Train the sparse head to guess hidden words of plain text, before it learns to rank.

    What could stand at a word's place is what the word may be expanded with. No queries and no labels are needed, so
    this is how the head meets the words of a field.

    [bold]tercet train mlm notes.txt --into start[/]
    [bold]tercet train splade pairs.jsonl --from start --into my-model[/]
    """
    _need_torch()
    from tercet.training.mlm import train_mlm_into
    from tercet.training.mlm_plan import MlmPlan
    from tercet.training.texts import read_texts

    changes = {
        "steps": steps,
        "batch_size": batch_size,
        "max_tokens": max_tokens,
        "mask_share": mask_share,
        "unfrozen_layers": _layers(unfreeze),
        "learning_rate": learning_rate,
        "held_out": held_out,
        "device": device,
        "seed": seed,
    }
    plan = MlmPlan() if plan_file is None else _read_plan(plan_file, MlmPlan)
    plan = replace(plan, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]
    with _one_below_the_other():
        read = read_texts(texts)
    console = Console(highlight=False)
    console.print(f"{len(read):,} texts, the sparse head from {base}")
    report = train_mlm_into(base, read, into, plan=plan, resume=resume, observe=_told_to(console, plan))
    console.print(f"hidden words guessed right: {report.before:.1%} → {report.after:.1%} on held-out texts")
    console.print(f"{into} is ready: tercet train splade pairs.jsonl --from {into} --into my-model", soft_wrap=True)


def _plan(kind: str, plan_file: Path | None, changes: dict[str, Any]) -> TrainingPlan:
    from tercet.training.plan import TrainingPlan

    plan = TrainingPlan() if plan_file is None else _read_plan(plan_file, TrainingPlan)
    layers = changes.get("unfrozen_layers", plan.unfrozen_layers)
    together = ("dense", "sparse", "late") if layers else ("sparse", "late")
    heads = {"splade": ("sparse",), "colbert": ("late",), "heads": together}[kind]
    return replace(plan, **{**changes, "heads": heads})


def _read_plan(path: Path, kind: type[Plan]) -> Plan:
    try:
        return kind.from_json(path.read_text(encoding="utf-8"))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no training plan: {error}") from error


def _told_to(console: Console, plan: TrainingPlan | MlmPlan) -> Observer:
    """Prints the log's rows now and then, and those in which something was measured."""
    from tercet.training.run import told

    def observe(row: Row) -> None:
        step = int(row["step"])
        measured = any(name.startswith(("ndcg", "held_out")) for name in row)
        if step % plan.log_every == 0 or step == plan.steps or measured:
            console.print(told(row, plan.steps))

    return observe


@contextmanager
def _one_below_the_other() -> Iterator[None]:
    """Bad lines each on a line, which the usual one-line error would run together."""
    try:
        yield
    except InvalidTrainingData as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _layers(text: str | None) -> int | str | None:
    if text is None or text == "all":
        return text
    if not text.isdigit():
        raise typer.BadParameter(f"--unfreeze takes a number of layers or all, got {text!r}")
    return int(text)


def _need_torch() -> None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        raise MissingExtra("training", "train")
