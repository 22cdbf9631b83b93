"""An explanation in, a page for a browser out: one file that loads nothing, in light and dark."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tercet.explaining.explanation import Explanation, LateMatch, answer_of, in_text
from tercet.explaining.inquiry import StagePart
from tercet.explaining.markup import Child, Markup, document, element, joined
from tercet.explaining.terminal import NOTICEABLE, how
from tercet.explaining.words import WordImpact, impacts
from tercet.types import LATE, SPARSE

#: Bars and rows of a list; the rest is summed in one line.
SHOWN = 24

Span = tuple[int, int]


def explanation_page(explanation: Explanation) -> str:
    """Asks the model for origins and sentences."""
    title = f"{explanation.query} → {explanation.id}"
    return document(f"tercet: {title}", STYLES, element("main", *explanation_sections(explanation)))


def explanation_sections(explanation: Explanation) -> Iterator[Markup]:
    """The parts of the page, from the whole score down to single tokens."""
    yield _headline(explanation)
    yield _section("What made the score", _ladder(explanation))
    yield _section(
        "The query, as its sparse vector",
        query_bars(explanation),
        note="Full bars stand in the query; hatched ones are expansions, which the model added. "
        "A filled dot: the document has the term, too.",
    )
    yield _section("The document", _shaded(explanation))
    yield _section("Shared terms", _terms(explanation), note="Their products sum to the sparse score.")
    if explanation.matches:
        yield _section(
            "Token by token",
            maxsim_grid(explanation),
            note="Cosine of each query token (rows) with each document token (columns). The outlined best of each row "
            "sum to the late score.",
        )
    if explanation.sentences:
        yield _section(
            "Nearest sentences",
            _sentences(explanation),
            note="Evidence for the dense score, no part of it: the dense vector is of the whole text and has no parts.",
        )


def _section(title: str, *children: Child, note: str = "") -> Markup:
    return element("section", element("h2", title), element("p", note, class_="note") if note else None, *children)


def _headline(explanation: Explanation) -> Markup:
    rank = "not ranked" if explanation.rank is None else f"rank {explanation.rank}"
    return element(
        "header",
        element("p", "query", class_="label"),
        element("h1", explanation.query),
        element("p", element("span", explanation.id, class_="id"), f" · {rank} · score {explanation.score:.4f}"),
    )


# --- the stage ladder ---


def _ladder(explanation: Explanation) -> Markup:
    giving = [part for part in explanation.stages if part.contribution > 0]
    total = sum(part.contribution for part in giving) or 1.0
    stack = element(
        "div",
        *(
            element(
                "span",
                part.stage,
                class_=f"part {part.stage}",
                style=f"flex:{part.contribution / total:.5f}",
                title=f"{part.stage} gives {part.contribution:.4f}",
            )
            for part in giving
        ),
        class_="stack",
    )
    rows = [_ladder_row(explanation, part) for part in explanation.stages]
    rows.append(_row("score", "", "", f"{explanation.score:.4f}", "", class_="total"))
    head = _row("stage", "rank", "score", "gives", "how", cell="th")
    return joined(stack if giving else None, element("table", element("thead", head), element("tbody", *rows)))


def _ladder_row(explanation: Explanation, part: StagePart) -> Markup:
    rank = "–" if part.rank is None else f"{part.rank} of {part.ranked}"
    score = f"({part.computed:.4f})" if part.score is None else f"{part.score:.4f}"
    name = joined(element("i", class_=f"swatch {part.stage}"), part.stage)
    return _row(name, rank, score, f"{part.contribution:.4f}", how(explanation, part))


def _row(*cells: Child, cell: str = "td", class_: str | None = None) -> Markup:
    return element("tr", *(element(cell, each) for each in cells), class_=class_)


# --- bars ---


def query_bars(explanation: Explanation) -> Markup:
    inquiry = explanation.inquiry
    words = impacts(inquiry.encoder, inquiry.query, inquiry.tokens, inquiry.weights, inquiry.origins)
    shared = {term.term for term in explanation.terms}
    return impact_bars(words, inquiry.query, mark=lambda word: any(term in shared for term, _ in word.pieces))


def impact_bars(words: Sequence[WordImpact], text: str, *, mark: Callable[[WordImpact], bool] | None = None) -> Markup:
    """One bar for each word, heaviest first."""
    if not words:
        return element("p", "The sparse vector has no terms.", class_="note")
    most = words[0].weight
    rows = []
    for word in words[:SHOWN]:
        brought = " ← " + ", ".join(sorted({text[a:b] for a, b in word.spans})) if word.expansion and word.spans else ""
        dot = None if mark is None else element("span", "●" if mark(word) else "○", class_="dot")
        bar = element(
            "span", class_="bar expansion" if word.expansion else "bar", style=f"width:{100 * word.weight / most:.2f}%"
        )
        rows.append(
            element(
                "tr",
                element("th", word.word, element("span", brought, class_="note")),
                element("td", dot) if mark else None,
                element("td", bar, class_="track"),
                element("td", f"{word.weight:.3f}"),
            )
        )
    more = words[SHOWN:]
    rest = f"and {len(more)} more, {sum(word.weight for word in more):.3f} in all" if more else None
    return joined(element("table", *rows, class_="bars"), element("p", rest, class_="note") if rest else None)


# --- the document with its tokens shaded ---


def _shaded(explanation: Explanation) -> Markup:
    late: defaultdict[Span, float] = defaultdict(float)
    said: defaultdict[Span, list[str]] = defaultdict(list)
    for match in explanation.matches:
        span = (match.document.start, match.document.end)
        late[span] += max(match.contribution, 0.0)
        said[span].append(f"{match.query.text} {match.contribution:.2f}")
    sparse: defaultdict[Span, float] = defaultdict(float)
    for term in explanation.terms:
        token = explanation.origins[term.token_id].document
        if token is not None:
            span = (token.start, token.end)
            sparse[span] += term.contribution
            said[span].append(f"term {term.term} {term.contribution:.2f}")
    text, read = explanation.document.text, _end_of_what_is_read(explanation)
    pieces: list[Child] = []
    cuts = sorted({0, read, *(position for span in said for position in span)})
    for start, end in itertools.pairwise(cuts):
        covering = [span for span in said if span[0] <= start and end <= span[1]]
        if not covering:
            pieces.append(text[start:end])
            continue
        strength = _share(covering, late)
        line = _share(covering, sparse)
        title = ", ".join(each for span in covering for each in said[span])
        style = f"--late:{100 * strength:.0f}%;--sparse:{100 * line:.0f}%"
        pieces.append(element("mark", text[start:end], style=style, title=title))
    if text[read:].strip():
        pieces.append(element("span", text[read:], class_="unread", title="beyond what the model reads"))
    legend = element(
        "p",
        element("mark", "shaded", style="--late:60%;--sparse:0%"),
        ": answers query tokens (late interaction) · ",
        element("mark", "underlined", style="--late:0%;--sparse:100%"),
        ": made shared terms (sparse) · hover for what",
        class_="note",
    )
    return joined(legend, element("p", *pieces, class_="text"))


def _share(spans: Sequence[Span], weights: dict[Span, float]) -> float:
    """Of the greatest weight."""
    most = max(weights.values(), default=0.0)
    return max((weights.get(span, 0.0) for span in spans), default=0.0) / most if most > 0 else 0.0


def _end_of_what_is_read(explanation: Explanation) -> int:
    tokens = (*explanation.tokens.sparse, *explanation.tokens.late)
    return max((token.end for token in tokens), default=0)


# --- tables of parts ---


def _terms(explanation: Explanation) -> Markup:
    head = _row("term", "query", "document", "product", "stands in", "made by", cell="th")
    rows = []
    for term in explanation.terms[:SHOWN]:
        origin = explanation.origins[term.token_id]
        made = [
            in_text(explanation.query, explanation.inquiry.tokens.sparse, origin.query),
            in_text(explanation.document.text, explanation.tokens.sparse, origin.document),
        ]
        stands = {"": "both", "query": "the document", "document": "the query", "both": "neither"}[term.expansion]
        numbers = (f"{each:.3f}" for each in (term.query_weight, term.document_weight, term.contribution))
        rows.append(_row(term.term, *numbers, stands, " · ".join(made)))
    rest = sum(term.contribution for term in explanation.terms[SHOWN:])
    return _summed(explanation, SPARSE, head, rows, rest, len(explanation.terms) - SHOWN)


def _summed(explanation: Explanation, stage: str, head: Markup, rows: list[Markup], rest: float, more: int) -> Markup:
    """A table of six columns, the fourth of which adds up to the stage's score."""

    def line(name: str, value: float, class_: str | None = None) -> Markup:
        return _row(name, "", "", f"{value:.4f}", "", "", class_=class_)

    if more > 0:
        rows.append(line(f"and {more} more", rest))
    part = next((part for part in explanation.stages if part.stage == stage), None)
    if part is not None:
        if abs(part.residual) > NOTICEABLE:
            rows.append(line("half precision", part.residual))
        rows.append(line(f"= {stage}", part.computed + part.residual, "total"))
    return element("table", element("thead", head), element("tbody", *rows))


def _sentences(explanation: Explanation) -> Markup:
    rows = [_row(f"{sentence.cosine:.3f}", sentence.text) for sentence in explanation.sentences[:5]]
    return element("table", *rows, class_="sentences")


# --- the grid ---


def _counted(match: LateMatch) -> str:
    return f"{match.similarity:.3f}" if match.importance == 1 else f"{match.similarity:.3f} × {match.importance:.2f}"


def maxsim_grid(explanation: Explanation) -> Markup:
    """Query tokens × document tokens, coloured by cosine; the best of each row outlined."""
    grid, names = explanation.grid, ["+".join(token.text for token in row) for row in explanation.rows]
    best = grid.argmax(axis=1).tolist()
    head = element(
        "tr",
        element("th"),
        element("th", "best"),
        *(
            element("th", element("span", name), class_="added" if all(token.special for token in row) else None)
            for name, row in zip(names, explanation.rows, strict=True)
        ),
    )
    rows = []
    for number, (match, row) in enumerate(zip(explanation.matches, grid.tolist(), strict=True)):
        cells = [
            element(
                "td",
                class_="best" if column == best[number] else None,
                style=f"--late:{100 * max(similarity, 0):.0f}%",
                title=f"{match.query.text} × {names[column]}: {similarity:.3f}",
            )
            for column, similarity in enumerate(row)
        ]
        name = element("th", match.query.text, class_="added" if match.query.special else None)
        answer = answer_of(explanation, match)
        rows.append(element("tr", name, element("th", f"{answer} {_counted(match)}"), *cells))
    added = [match.contribution for match in explanation.matches if match.special]
    split = f"Of these, {sum(added):.3f} from tokens that the encoder added to the texts." if added else None
    part = next((part for part in explanation.stages if part.stage == LATE), None)
    total = None
    if part is not None:
        residual = f" + {part.residual:.4f} of half precision" if abs(part.residual) > NOTICEABLE else ""
        total = f"Sum {part.computed:.4f}{residual} = late {part.computed + part.residual:.4f}."
    return joined(
        element("div", element("table", head, *rows, class_="grid"), class_="scroll"),
        element("p", " ".join(filter(None, (split, total))), class_="note"),
    )


STYLES = Markup(
    """
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5c6577; --line: #d9dee8; --paper: #ffffff; --card: #f6f8fb;
  --dense: #3b6fd4; --sparse-ink: #c2571a; --late-ink: #0f8a74; --pool: #8b8fa3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --soft: #9aa3b5; --line: #343c4d; --paper: #12161f;
  --card: #1a202c; --dense: #7aa2f7; --sparse-ink: #f0965a; --late-ink: #45c4ab; --pool: #767c92; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 .4rem; }
section { margin-top: 1.6rem; padding: 1rem 1.2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; }
header p { margin: .2rem 0; overflow-wrap: anywhere; }
.label, .note { color: var(--soft); font-size: .875rem; }
.note { margin: .2rem 0 .7rem; } th .note { margin: 0; font-weight: normal; }
.id { font-weight: 600; color: var(--dense); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .9rem .15rem 0; text-align: left; vertical-align: top; font-weight: normal; }
thead th { color: var(--soft); font-size: .8rem; }
.total td { border-top: 1px solid var(--line); font-weight: 600; }
.stack { display: flex; height: 1.9rem; margin-bottom: .9rem; border-radius: 4px; overflow: hidden; gap: 2px; }
.stack .part { color: #fff; font-size: .8rem; line-height: 1.9rem; padding-left: .5rem; overflow: hidden;
  white-space: nowrap; min-width: 0; }
@media (prefers-color-scheme: dark) { .stack .part { color: #10141c; } }
.dense { background: var(--dense); } .sparse { background: var(--sparse-ink); } .late { background: var(--late-ink); }
.fused { background: var(--pool); }
.swatch { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .5rem; }
.bars { width: 100%; } .bars th { white-space: nowrap; width: 1%; } .bars td { width: 1%; } .bars .track { width: 97%; }
.bar { display: block; height: .85rem; margin-top: .3rem; border-radius: 0 3px 3px 0; background: var(--sparse-ink); }
.bar.expansion { background: repeating-linear-gradient(115deg, var(--sparse-ink) 0 3px, transparent 3px 6px);
  border: 1px solid var(--sparse-ink); }
.dot { color: var(--sparse-ink); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.9; margin: 0; }
mark { color: inherit; border-radius: 2px; padding: .1em 0;
  background: color-mix(in srgb, var(--late-ink) calc(var(--late) * .7), transparent);
  border-bottom: 3px solid color-mix(in srgb, var(--sparse-ink) var(--sparse), transparent); }
.unread { color: var(--soft); opacity: .6; }
.scroll { overflow-x: auto; max-width: 100%; }
.grid { font-size: .75rem; border-collapse: separate; border-spacing: 1px; }
.grid th, .grid td { padding: 0 .3rem; white-space: nowrap; vertical-align: middle; }
.grid td { min-width: 1.05rem; height: 1.3rem;
  background: color-mix(in srgb, var(--late-ink) var(--late, 0%), transparent); }
.grid th:nth-child(2) { padding-right: .7rem; color: var(--soft); }
.grid tr:first-child th { vertical-align: bottom; } .grid tr:first-child span { writing-mode: vertical-rl; }
.grid tr th:first-child { position: sticky; left: 0; background: var(--card); text-align: right; }
.grid .best { outline: 2px solid var(--ink); outline-offset: -2px; }
.added { color: var(--soft); font-style: italic; }
"""
)
