"""The parts of a score add up to it, under every plan, on both engines; expected values by hand or in NumPy."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tercet import Document, HybridIndex, SearchPlan
from tercet.encoders.base import Token
from tercet.encoders.own_dense import OwnDense
from tercet.explaining.explanation import in_text, sentence_spans
from tercet.query import FINAL
from tests.toys import DENSE_DIM, ToyEncoder

WORDS = "heart attack cardiac arrest treatment protocol dose oxygen rhythm keys vault cat dog mat".split()
texts = st.lists(st.sampled_from([*WORDS, "...", "ß", "日本"]), min_size=1, max_size=12).map(" ".join)
words = st.lists(st.sampled_from([*WORDS, "unheard"]), min_size=1, max_size=6).map(" ".join)
weights = st.fixed_dictionaries({}, optional={stage: st.sampled_from([0, 0.5, 1, 3]) for stage in ("sparse", "late")})


@st.composite
def plans(draw: st.DrawFn) -> SearchPlan:
    stages = draw(st.sampled_from([("dense",), ("sparse",), ("dense", "sparse"), ("dense", "late"), None]))
    stages = stages or ("dense", "sparse", "late")
    return SearchPlan(
        k=draw(st.integers(1, 3)),
        prefetch_k=draw(st.integers(3, 8)),
        rerank_k=draw(st.integers(3, 8)),
        stages=stages,
        weights=draw(weights) if "dense" in stages else {},
        fusion=draw(st.sampled_from(["rrf", "min_max"])),
        mode=draw(st.sampled_from(["fused", "cascade"])) if "late" in stages else "fused",
    )


def filled(index: HybridIndex) -> HybridIndex:
    random = np.random.default_rng(0)
    index.add([Document(" ".join(random.choice(WORDS, random.integers(1, 12))), str(n)) for n in range(30)])
    return index


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HybridIndex]:
    with HybridIndex.open(tmp_path_factory.mktemp("edge"), encoder=ToyEncoder()) as index:
        yield filled(index)


def assert_adds_up(index: HybridIndex, query: str, plan: SearchPlan, *, half_precision: float) -> None:
    final = index.rankings([query], plan=plan)[0][FINAL]
    explanations = index.explain_many(query, [scored.id for scored in final], plan=plan)

    for rank, (scored, explanation) in enumerate(zip(final, explanations, strict=True), start=1):
        assert (explanation.rank, explanation.score) == (rank, scored.score)
        assert sum(part.contribution for part in explanation.stages) == pytest.approx(scored.score, abs=1e-9)
        sums = {
            "sparse": sum(term.contribution for term in explanation.terms),
            "late": sum(match.contribution for match in explanation.matches),
        }
        for part in explanation.stages:
            assert part.computed == pytest.approx(sums.get(part.stage, part.computed), abs=1e-5)
            if part.score is not None:
                assert part.computed + part.residual == pytest.approx(part.score, abs=1e-9)
                assert abs(part.residual) < (half_precision if part.stage in ("sparse", "late") else 1e-5)


@given(st.lists(texts, min_size=1, max_size=8), words, plans())
@settings(max_examples=150, deadline=None)
def test_the_parts_sum_to_the_score(documents: list[str], query: str, plan: SearchPlan) -> None:
    index = HybridIndex.in_memory(encoder=ToyEncoder())
    index.add(documents)

    assert_adds_up(index, query, plan, half_precision=1e-4)


@given(words, plans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_on_the_embedded_engine_half_precision_is_a_line_of_its_own(
    edge: HybridIndex, query: str, plan: SearchPlan
) -> None:
    assert_adds_up(edge, query, plan, half_precision=5e-3)


@pytest.fixture
def index() -> HybridIndex:
    index = HybridIndex.in_memory(encoder=ToyEncoder())
    index.add(
        [
            Document("Heart attack. The patient gets oxygen.", "attack", {"kind": "note"}),
            Document("The cat sat on the mat, and the dog slept.", "cat", {"kind": "tale"}),
            Document("Cardiac arrest: begin chest compressions.", "arrest", {"kind": "note"}),
        ]
    )
    return index


def test_each_query_token_is_matched_with_its_characters_in_the_document(index: HybridIndex) -> None:
    explanation = index.explain("oxygen for a heart", "attack")

    text = explanation.document.text
    by_query = {match.query.text: match for match in explanation.matches}
    assert list(by_query) == ["oxygen", "for", "a", "heart"]
    assert text[by_query["oxygen"].document.start : by_query["oxygen"].document.end] == "oxygen"
    assert by_query["heart"].document.text == "heart"
    assert by_query["heart"].similarity == pytest.approx(1)
    assert not any(match.special for match in explanation.matches)


def test_terms_that_stand_in_both_texts_are_no_expansions(index: HybridIndex) -> None:
    explanation = index.explain("patient heart", "attack")

    assert {(term.term, term.expansion) for term in explanation.terms} == {("patient", ""), ("heart", "")}
    origin = explanation.origins[explanation.terms[0].token_id]
    assert origin.query is not None
    assert origin.document is not None
    assert origin.query.text == origin.document.text == explanation.terms[0].term


def test_the_nearest_sentence_is_evidence_for_the_cosine(index: HybridIndex) -> None:
    nearest, other = index.explain("patient oxygen", "attack").sentences

    assert nearest.text == "The patient gets oxygen."
    query, sentence = (next(ToyEncoder().encode_documents([text])).dense for text in ("patient oxygen", nearest.text))
    assert nearest.cosine == pytest.approx(float(query @ sentence), abs=1e-5)
    assert other.cosine < nearest.cosine


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two!  Three?", ["One.", "Two!", "Three?"]),
        ("A heading\n\nAnd 3.5 mg a day", ["A heading", "And 3.5 mg a day"]),
        ('He said "stop." Then left', ['He said "stop."', "Then left"]),
        ("  ", []),
    ],
)
def test_sentences_are_cut_at_full_stops_and_lines(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences


def test_what_is_not_found_has_no_rank_and_says_what_it_would_score(index: HybridIndex) -> None:
    explanation = index.explain("heart oxygen", "cat", plan=SearchPlan(stages=("sparse",)))

    assert (explanation.rank, explanation.score) == (None, 0)
    assert explanation.stage("sparse").score is None
    assert explanation.stage("sparse").computed == 0


def test_an_unknown_id_and_an_unknown_stage_are_named(index: HybridIndex) -> None:
    with pytest.raises(ValueError, match="there is no document 'nobody'"):
        index.explain("heart", "nobody")
    with pytest.raises(KeyError, match="the plan has no stage 'late', but dense"):
        index.explain("heart", "cat", plan=SearchPlan(stages=("dense",))).stage("late")


def test_a_tenant_gets_its_own_documents_explained_and_no_others(index: HybridIndex) -> None:
    ours, theirs = index.for_tenant("ours"), index.for_tenant("theirs")
    ours.add([Document("heart attack protocol", "x")])
    theirs.add([Document("heart attack secret", "x"), Document("vault", "y")])

    explanation = ours.explain("heart attack", "x")
    assert explanation.document.text == "heart attack protocol"
    assert (explanation.id, explanation.rank) == ("x", 1)
    assert {part.ranked for part in explanation.stages} == {1}
    for hidden in ("y", "theirs:x", "attack"):
        with pytest.raises(ValueError, match="there is no document"):
            ours.why_not("heart attack", hidden)


def test_a_dense_vector_from_elsewhere_is_explained_without_sentences(index: HybridIndex) -> None:
    vector = np.ones(DENSE_DIM)
    explanation = index.explain("heart", "attack", dense=vector)

    assert explanation.stage("dense").score == pytest.approx(explanation.stage("dense").computed, abs=1e-6)
    assert explanation.sentences == ()


def test_an_encoder_around_another_one_has_its_tokens_told() -> None:
    toy = ToyEncoder()
    own = OwnDense(
        toy, embed_query=lambda _: [1.0, 0], embed_documents=lambda texts: [[0.5, 1.0]] * len(texts), name="two", dim=2
    )
    index = HybridIndex.in_memory(encoder=own)
    index.add([Document("heart attack", "a")])

    assert [term.term for term in index.explain("heart", "a").terms] == ["heart"]


def test_an_encoder_that_tells_no_tokens_is_named() -> None:
    class Mute:
        """Only what a search needs."""

        def __init__(self) -> None:
            toy = ToyEncoder()
            self.spec, self.terms, self.encode_query = toy.spec, toy.terms, toy.encode_query
            self.encode_queries, self.encode_documents = toy.encode_queries, toy.encode_documents

    index = HybridIndex.in_memory(encoder=Mute())
    index.add([Document("heart", "a")])
    explanation = index.explain("heart", "a")

    assert explanation.score == index.search("heart")[0].score
    with pytest.raises(TypeError, match="does not tell which tokens"):
        _ = explanation.terms


def test_a_piece_of_a_word_is_shown_in_its_word() -> None:
    text = "Myocardial infarction"
    tokens = [
        Token("my", 1, 0, 2, 0),
        Token("##oca", 2, 2, 5, 0),
        Token("##rdial", 3, 5, 10, 0),
        Token("in", 4, 11, 13, 1),
    ]

    assert in_text(text, tokens, tokens[1]) == "[My]oca[rdial]"
    assert in_text(text, tokens, tokens[3]) == "in"
    assert in_text(text, tokens, Token("[CLS]", 5, 0, 0, -1)) == "[CLS]"
    assert in_text(text, tokens, None) == "?"


def test_many_explanations_are_those_of_each_alone(index: HybridIndex) -> None:
    many = index.explain_many("heart attack", ["arrest", "attack"])

    assert [each.id for each in many] == ["arrest", "attack"]
    assert [each.stages for each in many] == [index.explain("heart attack", id_).stages for id_ in ("arrest", "attack")]
    assert index.explain_many("heart", []) == []
