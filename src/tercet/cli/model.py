"""`tercet model …`: checkpoints that come, go and tell of themselves. All but info and card need tercet[models]."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tercet.cli.options import Json, console, print_json
from tercet.errors import MissingExtra

if TYPE_CHECKING:
    from tercet.checkpoint import Checkpoint

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Look at models, bring a SPLADE or a ColBERT of your own, take ours elsewhere.\n\n"
        "[bold]tercet model import[/] naver/splade-v3 --into my-splade makes a checkpoint that runs without torch.\n\n"
        "[bold]tercet model export[/] my-model --into exported writes folders for sentence-transformers.\n\n"
        "A model is a folder, 'tercet-mini', or the name that it has on a Hugging Face hub. Weights are read from "
        "safetensors only, and no code that comes with a model is run. docs/models.md lists what loads how."
    ),
)

Model = Annotated[str, typer.Argument(help="A checkpoint's folder, or tercet-mini.")]

#: Texts that the ranges of int8 are taken from, where the user brings none.
SAMPLE = 300


@app.command()
def info(model: Model = "tercet-mini", as_json: Json = False) -> None:
    """Show a checkpoint's heads, sizes and how it reads texts.

    [bold]tercet model info my-model[/]
    """
    from rich.markup import escape
    from rich.table import Table

    from tercet.model_card import facts

    found = facts(_open(model))
    if as_json:
        print_json(found)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("model", escape(found["name"]))
    table.add_row("heads", ", ".join(found["heads"]))
    for name, part in found["parts"].items():
        table.add_row(name, f"{part['parameters']:,} parameters in {part['bytes'] / 1e6:.1f} MB")
    for name, reading in found["reads"].items():
        table.add_row(name, escape(reading))
    table.add_row("files", f"{sum(found['files'].values()) / 1e6:.1f} MB in {escape(found['folder'])}")
    console().print(table)


@app.command()
def card(
    model: Model = "tercet-mini",
    results: Annotated[
        list[Path] | None,
        typer.Option(help="A result of tercet evaluate --json, for the card's table; may be given several times."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write it to README.md in the model's folder.")] = False,
) -> None:
    """Print a checkpoint's model card: its parts, how it reads, how it was trained, what was measured.

    [bold]tercet evaluate questions.jsonl --in kb --json > results.json[/]

    [bold]tercet model card my-model --results results.json --write[/]
    """
    from tercet.model_card import model_card

    checkpoint = _open(model)
    text = model_card(checkpoint, [_read_json(path) for path in results or ()])
    if write:
        place = checkpoint.folder / "README.md"
        place.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {place}", err=True)
    else:
        typer.echo(text, nl=False)


@app.command("import")
def import_(
    model: Annotated[str, typer.Argument(help="A folder, or 'organisation/model' of a Hugging Face hub.")],
    into: Annotated[Path, typer.Option("--into", help="Folder of the new checkpoint.")],
    sample: Annotated[
        Path | None,
        typer.Option(
            help="A text file, one text a line, like those to be encoded: int8 takes its ranges from the first "
            "300. Docstrings of Python's standard library without it.",
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Make a checkpoint of a SPLADE, a ColBERT or a dense model: a BERT or DistilBERT in safetensors.

    It reads sentence-transformers' SparseEncoder and MultiVectorEncoder, PyLate's and Stanford's ColBERT, and plain
    models for masked words. The checkpoint holds the one head that the model has, and runs without torch.

    [bold]tercet model import naver/splade-v3 --into my-splade[/]

    [bold]tercet model import answerdotai/answerai-colbert-small-v1 --into my-colbert[/]

    ComposedEncoder.load(dense='tercet-mini', sparse='my-splade', late='my-colbert') joins them for an index.
    """
    _need_torch("import")
    from tercet.checkpoint import HEADS
    from tercet.models.interchange import import_model

    _new(into)
    checkpoint = import_model(model, into, calibration=_sample(sample))
    held = checkpoint.config.heads
    chosen = ", ".join(f"{head}={str(into) if head in held else 'tercet-mini'!r}" for head in HEADS)
    typer.echo(f"{into} holds the {' and '.join(held)} head: ComposedEncoder.load({chosen})")


@app.command()
def export(
    model: Model = "tercet-mini",
    into: Annotated[Path, typer.Option("--into", help="Where one folder for each head is made.")] = Path("exported"),
    head: Annotated[
        Literal["dense", "sparse", "late"] | None,
        typer.Option(help="This head alone. All that the checkpoint holds without it."),
    ] = None,
    weights: Annotated[Literal["f32", "f16"], typer.Option(help="Precision of the written weights.")] = "f32",
) -> None:
    """Write folders that sentence-transformers loads: SentenceTransformer, SparseEncoder, MultiVectorEncoder.

    Dense and late load as they are. A sparse head of our form names a class of tercet, so that its folder asks for
    tercet and trust_remote_code=True; one that was imported from a SPLADE asks for neither.

    [bold]tercet model export my-model --into exported[/]

    [bold]tercet model export my-model --head late --weights f16 --into exported[/]
    """
    _need_torch("export")
    from tercet.models.sentence_folders import export_model

    for name, folder in export_model(model, into, heads=(head,) if head else None, weights=weights).items():
        typer.echo(f"{name}: {folder}")


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    options_metavar="",
)
def build(context: typer.Context) -> None:
    """Remake the shipped checkpoint from data and packages: the recipe of tercet-mini; --help shows its options."""
    _need_torch("build")
    from tercet.models.build import main

    recipe = typer.Typer(add_completion=False)
    recipe.command()(main)
    typer.main.get_command(recipe).main(context.args, prog_name="tercet model build", standalone_mode=False)


def _open(model: str) -> Checkpoint:
    from tercet.checkpoint import Checkpoint, default_checkpoint

    return Checkpoint.open(default_checkpoint() if model == "tercet-mini" else model)


def _sample(path: Path | None) -> list[str]:
    """Texts for int8's ranges."""
    if path is None:
        from tercet.reading.stdlib import read_standard_library

        return [document.text for document in itertools.islice(read_standard_library(), 0, 10 * SAMPLE, 10)]
    try:
        texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()][:SAMPLE]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text ({error})") from error
    if not texts:
        raise ValueError(f"{path} holds no text; give one text a line")
    return texts


def _read_json(path: Path) -> Any:  # noqa: ANN401 model_card looks at it
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no result of tercet evaluate --json: {error}") from error


def _new(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a folder that is, or is not there yet")


def _need_torch(command: str) -> None:
    if any(importlib.util.find_spec(module) is None for module in ("torch", "transformers", "sentence_transformers")):
        raise MissingExtra(f"tercet model {command}", "models")
