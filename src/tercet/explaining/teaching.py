"""One query walked through a model in, a page that shows why learned sparse retrieval works out.

Word pieces → neighbours without context → what the context expects at each word's place → what each word brings in →
the sparse vector → what each retriever returns → token by token. Everything on the page is computed by the models at
hand, nothing is drawn up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tercet.encoders.base import Encoder, MaskedWord, Token, explainable
from tercet.explaining.explanation import Explanation
from tercet.explaining.markup import Child, Markup, document, element
from tercet.explaining.page import STYLES, explanation_sections, impact_bars, query_bars
from tercet.explaining.words import word_impacts

#: What a page shows of each ranking.
SHOWN = 6


@runtime_checkable
class Inspectable(Encoder, Protocol):
    """An encoder whose embedding matrix and sparse head can be looked into; `MiniEncoder` is one."""

    def query_activations(self, query: str, *, k: int = 8) -> list[tuple[Token, list[tuple[str, float]]]]: ...

    def static_neighbours(self, token_id: int, *, k: int = 8) -> list[tuple[str, float]]: ...

    def masked_word_predictions(self, query: str, *, k: int = 8) -> list[MaskedWord]: ...


def inspectable(encoder: Encoder) -> Inspectable:
    """The encoder itself.

    Raises:
        TypeError: it does not let its embedding matrix and its sparse head be looked into.
    """
    if isinstance(encoder, Inspectable):
        return encoder
    raise TypeError(
        f"{encoder!r} does not let its embedding matrix and sparse head be looked into; the page needs a MiniEncoder, "
        f"or the methods of tercet.explaining.teaching.Inspectable"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What the page is about.

    contrast: a query in which one of the words means something else; empty for none
    rankings: by retriever the ids that it returns, best first
    grades: by id how well a document answers the query; what is absent does not
    measured: by retriever a figure over a whole set of queries, and `measure` says which; empty without judgements
    guesser: who guesses hidden words, as a model of `tercet train mlm`; None for the encoder itself
    guessed: how many words of those queries it guesses right at first, each hidden in turn, and of how many
    """

    encoder: Inspectable
    explanation: Explanation
    contrast: str
    rankings: Mapping[str, Sequence[str]]
    texts: Mapping[str, str]
    grades: Mapping[str, int]
    measured: Mapping[str, float]
    measure: str
    guesser: Inspectable | None = None
    guessed: tuple[int, int] = (0, 0)


def teaching_page(walk: Walk) -> str:
    """One HTML file, which loads nothing."""
    title = "Why SPLADE works: one query, step by step"
    return document(title, Markup(STYLES + MORE_STYLES), element("main", *_sections(walk, title)))


def _sections(walk: Walk, title: str) -> Iterator[Markup]:
    query = walk.explanation.query
    yield element(
        "header",
        element("h1", title),
        element(
            "p",
            "A question and the document that answers it often share no word. This page follows the query ",
            element("b", query),
            f" through {walk.encoder.spec.name}; every number on it was computed by that model.",
        ),
    )
    yield _step("1. Word pieces", _pieces(walk), "The tokenizer cuts the query into entries of a fixed vocabulary.")
    yield _step(
        "2. Neighbours without context",
        _neighbours(walk),
        "The nearest rows of the embedding matrix, by cosine. A word has one row, whatever it means here: the company "
        "it keeps is not asked. Expanding a query with these would bring in every sense of every word.",
    )
    yield _step(
        "3. What the context expects at each word's place",
        [_guesses(walk, each) for each in (query, walk.contrast) if each],
        _about_guesses(walk),
    )
    yield _step(
        "4. What each word brings in, within its context",
        [_activations(walk, each) for each in (query, walk.contrast) if each],
        "The sparse head reads each word's state after the transformer's layers, in which the other words have spoken, "
        "and gives every term of the vocabulary a weight; nearly all are 0. "
        + (walk.contrast and "Below, the same for another query: compare what a word that stands in both brings in."),
    )
    yield _step(
        "5. The sparse vector of the query",
        query_bars(walk.explanation),
        "For each term the greatest of those weights: w = max over words of log(1 + relu(logit)). Full bars stand in "
        f"the query, hatched ones are expansions. A filled dot: {walk.explanation.id} has the term, too.",
    )
    text = walk.explanation.document.text
    yield _step(
        f"6. Documents are expanded, too: {walk.explanation.id}",
        impact_bars(word_impacts(walk.encoder, text), text),
        "An inverted index holds these weights; the score is their product with the query's, summed. So one side's "
        "expansion can meet a word that the other side really has. Word pieces are joined to words.",
    )
    yield _step(
        "7. What each retriever returns",
        _rankings(walk),
        _about_rankings(walk),
    )
    yield element("h1", f"8. Why {walk.explanation.id} stands where it stands", class_="last")
    yield from explanation_sections(walk.explanation)


def _step(title: str, children: Child, note: str) -> Markup:
    return element("section", element("h2", title), element("p", note, class_="note"), children)


def _pieces(walk: Walk) -> Markup:
    tokens = explainable(walk.encoder).query_tokens(walk.explanation.query).sparse
    chips = (
        element("span", token.text, element("small", f" {token.token_id}"), class_="chip")
        for token in tokens
    )  # fmt: skip
    return element("p", *chips)


def _neighbours(walk: Walk) -> Markup:
    tokens = explainable(walk.encoder).query_tokens(walk.explanation.query).sparse
    rows = [(token.text, walk.encoder.static_neighbours(token.token_id)) for token in tokens]
    return _word_table((word, _chips(terms, "{:.2f}")) for word, terms in rows)


def _about_guesses(walk: Walk) -> str:
    right, asked = walk.guessed
    measured = f" Over the collection's queries the first guess is right for {right} of {asked} words." if asked else ""
    by = f" Here {walk.guesser.spec.name} guesses." if walk.guesser else (
        " A head that was trained to rank since, as this one was, answers with what the other words are about rather "
        "than with the word; tercet train mlm trains a head to guess."
    )  # fmt: skip
    return (
        "Each word is hidden behind [MASK] in turn; the sparse head says with which probability each term of its "
        "vocabulary stands there, the hidden word's own beside it. SPLADE's head began as a masked language model's: "
        f"what could stand at a word's place is what the word may be expanded with.{by}{measured}"
    )


def _guesses(walk: Walk, query: str) -> Markup:
    rows = []
    for masked in (walk.guesser or walk.encoder).masked_word_predictions(query):
        own = "" if masked.probability is None else f" {masked.probability:.1%}"
        rows.append(([masked.word, element("small", own)], _chips(masked.guesses, "{:.1%}")))
    return _word_table(rows, element("caption", query))


def _activations(walk: Walk, query: str) -> Markup:
    rows = [(token.text, _chips(terms, "{:.2f}")) for token, terms in walk.encoder.query_activations(query)]
    return _word_table(rows, element("caption", query))


def _chips(terms: Sequence[tuple[str, float]], form: str) -> list[Markup]:
    return [element("span", term, element("small", f" {form.format(value)}"), class_="chip") for term, value in terms]


def _word_table(rows: Iterable[tuple[Child, Child]], caption: Markup | None = None) -> Markup:
    """A word in each row, and beside it what belongs to it."""
    return element(
        "table",
        caption,
        *(element("tr", element("th", word), element("td", beside)) for word, beside in rows),
        class_="words",
    )


def _about_rankings(walk: Walk) -> str:
    dots = "●● answers the question, ● is related, by the collection's judgements. " if walk.grades else ""
    figures = f"; the figure below each is {walk.measure}" if walk.measured else ""
    return f"{dots}One query is an example and no measurement{figures}."


def _rankings(walk: Walk) -> Markup:
    columns = []
    for name, ids in walk.rankings.items():
        rows = [
            element(
                "li",
                element("b", "●" * walk.grades.get(id_, 0), class_="grade"),
                f" {id_}",
                element("div", _beginning(walk.texts[id_]), class_="note"),
            )
            for id_ in ids[:SHOWN]
        ]
        found = element("ol", *rows) if rows else element("p", "nothing", class_="note")
        measured = f"{walk.measured[name]:.3f}" if name in walk.measured else None
        figure = element("p", element("b", measured), class_="figure") if measured else None
        columns.append(element("div", element("h3", name), found, figure))
    return element("div", *columns, class_="columns")


def _beginning(text: str) -> str:
    return text if len(text) <= 90 else text[:90].rsplit(" ", 1)[0] + " …"


MORE_STYLES = """
h1.last { margin-top: 2.5rem; font-size: 1.4rem; }
h3 { font-size: .95rem; margin: 0 0 .4rem; }
.chip { display: inline-block; margin: .1rem .35rem .1rem 0; padding: 0 .5rem; border: 1px solid var(--line);
  border-radius: 999px; background: var(--paper); } .chip small { color: var(--soft); }
.words { margin-bottom: .8rem; } .words th { padding-top: .35rem; font-weight: 600; }
.words th small { color: var(--soft); font-weight: 400; } caption { text-align: left;
  font-style: italic; color: var(--soft); padding-bottom: .2rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 1rem; }
.columns ol { padding-left: 1.2rem; margin: 0; font-size: .85rem; } .columns .note { font-size: .75rem; margin: 0; }
.columns li { margin-bottom: .4rem; overflow-wrap: anywhere; } .grade { color: var(--late-ink); }
.figure { margin: .5rem 0 0; font-variant-numeric: tabular-nums; }
"""
