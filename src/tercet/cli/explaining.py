"""Why a document has its score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tercet.cli.options import Ask, Json, Place, console, print_json


def explain(
    query: Annotated[str, typer.Argument(help="A question or keywords.")],
    document_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Of a document, as search shows it; the best hit without it.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="ID", help="Compare with this document: what puts one above the other.")
    ] = None,
    *,
    at: Place,
    ask: Ask,
    html: Annotated[
        Path | None, typer.Option(help="Write a page for a browser to this file, which loads nothing.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            help="Write a page that follows the query through the model, step by step, and shows what BM25, dense, "
            "sparse and hybrid search return. Needs tercet[evaluation]; BM25 reads every document."
        ),
    ] = None,
    contrast: Annotated[
        str, typer.Option(metavar="QUERY", help="For --page: one in which words of the query mean something else.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Show why a document has its score, or at which gate it fell where it is no hit.

    The parts add up: stages to the final score, shared terms to the sparse score, matched tokens to the late one.

    [bold]tercet explain 'key rotation'[/]

    [bold]tercet explain 'key rotation' docs/keys.md#rotation/1 --html why.html[/]

    [bold]tercet explain 'key rotation' docs/keys.md#rotation/1 --against docs/vault.md#intro/1[/]

    [bold]tercet explain 'key rotation' --page why.html --contrast 'key of a piano'[/]
    """
    if sum(map(bool, (html, page, against or as_json))) > 1:
        raise typer.BadParameter("--html and --page are each for one explanation, without --against and --json")
    if contrast and not page:
        raise typer.BadParameter("--contrast is shown on the page that --page names; give both")
    plan, condition = ask.plan, ask.condition
    if page is not None:
        _write_page(page, query, document_id, contrast, at, ask)
        return
    with at.open() as opened:
        if document_id is None:
            hits = opened.search(query, where=condition, plan=plan)
            if not hits:
                raise ValueError("nothing was found; name a document to see where it fell out")
            document_id = hits[0].id
        if against is not None:
            shown: Any = opened.compare(query, document_id, against, where=condition, plan=plan)
        else:
            shown = opened.why_not(query, document_id, where=condition, plan=plan)
            shown = shown.explanation if shown.found else shown
    if html is not None:
        explanation = getattr(shown, "explanation", shown)
        html.write_text(explanation.to_html(), encoding="utf-8")
        typer.echo(f"wrote {html}", err=True)
    elif as_json:
        print_json(shown.to_dict())
    else:
        from tercet.explaining.terminal import show

        show(console(), shown)


def _write_page(page: Path, query: str, document_id: str | None, contrast: str, at: Place, ask: Ask) -> None:
    from tercet.evaluation.walk import walk
    from tercet.explaining.teaching import teaching_page

    with at.open() as opened:
        walked = walk(opened, query, id=document_id, contrast=contrast, plan=ask.plan, where=ask.condition)
        page.write_text(teaching_page(walked), encoding="utf-8")
    typer.echo(f"wrote {page}", err=True)
