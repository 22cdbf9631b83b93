"""The program `tercet`: its commands, and how an error that a user can answer is told."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import tercet
from tercet.cli import evaluating, explaining, model, searching, train, upkeep
from tercet.cli.options import grouped
from tercet.errors import TercetError

# Only what every command needs is imported at the top of these modules: `tercet --help` should not wait for an engine
# and a model.


class _Commands(typer.core.TyperGroup):
    """Turns errors that a user can answer into one line on standard error and exit code 1."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (the base class is private to typer)
        try:
            return super().invoke(ctx)
        except (TercetError, ValueError) as error:
            from tercet.display import plain

            line = Text.assemble(("error: ", "bold red"), plain(" ".join(str(error).split()), "red"))
            Console(stderr=True).print(line, soft_wrap=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Hybrid search over your documents: by meaning, by words and token by token, in one pass of one model.\n\n"
        "[bold]tercet index[/] docs/ notes.jsonl · [bold]tercet search[/] 'how do I rotate keys?' · "
        "[bold]tercet demo[/]"
    ),
)

for _command in (
    searching.index,
    searching.search,
    explaining.explain,
    upkeep.info,
    upkeep.delete,
    upkeep.compact,
    upkeep.repair,
    searching.demo,
    evaluating.evaluate,
    evaluating.compare,
    evaluating.export,
):
    app.command()(grouped(_command))
app.add_typer(train.app, name="train")
app.add_typer(model.app, name="model")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"tercet {tercet.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
