"""An index looked at, thinned out, compacted, repaired."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tercet.cli import options
from tercet.cli.options import Json, Place, Where, Yes, console, print_json


def info(
    *,
    at: Place,
    as_json: Json = False,
) -> None:
    """Show what an index holds: model, engine, place, sizes."""
    with at.open() as opened:
        description = opened.info()
    if as_json:
        print_json(dict(description))
    else:
        from tercet.display import show_mapping

        show_mapping(console(), description)


def delete(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids, as search shows them.")] = None,
    where: Where = None,
    *,
    at: Place,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete documents by id or by metadata, after asking.

    [bold]tercet delete docs/keys.md#rotation/1[/]

    [bold]tercet delete --where source=docs/old.md --yes[/]
    """
    if bool(ids) == bool(where):
        raise typer.BadParameter("name the documents either by id or by --where")
    if as_json and not yes:
        raise typer.BadParameter("--json asks no question; confirm with --yes")
    condition = options.condition(where)
    with at.open() as opened:
        count = len(opened.get(ids)) if ids else opened.count(condition)
        if count and not yes:
            typer.confirm(f"Delete {count:,} {'document' if count == 1 else 'documents'}?", abort=True, err=True)
        deleted = 0
        if count:
            deleted = opened.delete(ids) if ids else opened.delete(where=condition)
    if as_json:
        print_json({"deleted": deleted})
    else:
        typer.echo(f"{deleted:,} deleted")


def compact(at: Place) -> None:
    """Reclaim the space of replaced and deleted documents; takes seconds to minutes."""
    with at.open() as opened:
        opened.compact()
    typer.echo("compacted")


def repair(
    place: Annotated[Path, typer.Argument(metavar="PATH", help="The index's directory.")],
    yes: Yes = False,
) -> None:
    """Make an index open again that was damaged: copy what can be read of it, and keep the damaged part beside it.

    Documents that were written shortly before the damage, and not flushed, may be lost: index the same files again, and
    those that are missing are added. It takes as long as writing all documents once, and meanwhile up to three times
    the disk. An index that opens is left as it is.
    """
    from tercet.store.edge import EdgeStore

    if not yes:
        typer.echo(
            f"What can be read of {place} is copied; documents that were not flushed before the damage may be lost.",
            err=True,
        )
        typer.confirm("Repair it?", abort=True, err=True)
    aside = EdgeStore.repair(place)
    if aside is None:
        typer.echo(f"nothing to repair: {place} opens")
    else:
        typer.echo(
            f"repaired; the damaged part lies at {aside}, delete it when nothing is missing. "
            f"To add what was not flushed: tercet index PATH --into {place}"
        )
