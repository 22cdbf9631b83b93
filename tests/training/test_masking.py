import numpy as np
import pytest
import torch

from tercet.training.masking import MaskedBatch, Masking, Piece, piece_stream
from tests import tiny

MASK = tiny.VOCABULARY.index("[MASK]")
EXPRESSIBLE = np.array([len(term.removeprefix("##")) > 0 and term.strip("#[]").isalnum() for term in tiny.VOCABULARY])
EXPRESSIBLE[:5] = False


def masking(share: float = 0.15) -> Masking:
    return Masking(tiny.tokenizer(), EXPRESSIBLE, share=share)


def pieces(*texts: str, max_tokens: int = 64) -> list[Piece]:
    return masking().cut(tiny.tokenizer(), texts, max_tokens=max_tokens)


def batch(text: str, share: float, seed: int = 0) -> MaskedBatch:
    return masking(share).batch(pieces(text), np.random.default_rng(seed))


def words(ids: torch.Tensor) -> list[str]:
    return [tiny.VOCABULARY[int(index)] for index in ids]


def test_a_text_gets_its_special_tokens_and_what_is_not_asked_stays() -> None:
    made = batch("the cat sat on the mat", share=1 / 6)
    row, asked = made.token_ids[0], made.asked[0]
    original = ["[CLS]", "the", "cat", "sat", "on", "the", "mat", "[SEP]"]

    assert asked.sum() == 1
    assert [word for word, hidden in zip(words(row), asked, strict=True) if not hidden] == [
        word for word, hidden in zip(original, asked, strict=True) if not hidden
    ]
    assert words(made.targets) == [word for word, hidden in zip(original, asked, strict=True) if hidden]
    assert made.mask.all()


def test_of_the_chosen_words_eight_in_ten_are_hidden_one_is_replaced_and_one_stays() -> None:
    text = " ".join(["cat dog mat sat red green apple pear"] * 7)
    shown, targets = [], []
    for seed in range(300):
        made = batch(text, share=0.15, seed=seed)
        assert len(made.targets) == round(0.15 * 56)
        shown.append(made.token_ids[made.asked])
        targets.append(made.targets)
    all_shown, all_targets = torch.cat(shown), torch.cat(targets)

    assert float((all_shown == MASK).float().mean()) == pytest.approx(0.8, abs=0.03)
    # a random word is now and then the word itself
    assert float((all_shown == all_targets).float().mean()) == pytest.approx(0.1, abs=0.03)
    replaced = all_shown[(all_shown != MASK) & (all_shown != all_targets)]
    assert EXPRESSIBLE[replaced].all()
    assert len(set(replaced.tolist())) > 20


def test_all_pieces_of_a_word_are_asked_for_together() -> None:
    # "zig" is no word of the vocabulary: z ##i ##g
    for seed in range(20):
        made = batch("the zig sat on", share=0.25, seed=seed)
        asked = made.asked[0, 1:-1].tolist()
        assert asked in (
            [True, *[False] * 5],
            [False, True, True, True, False, False],
            [False] * 4 + [True, False],
            [False] * 5 + [True],
        )


def test_what_the_head_cannot_say_is_never_asked_for() -> None:
    for seed in range(20):
        assert words(batch("cat ! dog ?", share=0.5, seed=seed).targets) in (["cat"], ["dog"])
    assert pieces("! ? !") == []


def test_a_long_text_is_cut_and_nothing_of_it_is_lost() -> None:
    cut = pieces("the cat sat on the mat", "!", "dog", max_tokens=6)

    assert [words(torch.from_numpy(piece)) for piece in cut] == [["the", "cat", "sat", "on"], ["the", "mat"], ["dog"]]


def test_texts_of_a_batch_are_padded_and_their_inner_tokens_known() -> None:
    made = masking().batch(pieces("cat", "the cat sat"), np.random.default_rng(0))

    assert made.mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert made.inner.tolist() == [[False, True, False, False, False], [False, True, True, True, False]]
    assert words(made.token_ids[0])[-2:] == ["[PAD]", "[PAD]"]


def test_an_epoch_takes_each_piece_once_and_a_stream_goes_on_where_it_was_left() -> None:
    given = [np.full(1 + n % 9, n, np.int32) for n in range(50)]
    stream = piece_stream(given, 8, seed=1)
    epoch = [next(stream) for _ in range(7)]
    whole = epoch + [next(stream) for _ in range(9)]

    assert sorted(int(piece[0]) for taken in epoch for piece in taken) == list(range(50))
    assert [piece.tolist() for taken in whole[:7] for piece in taken] != [
        piece.tolist() for taken in whole[7:14] for piece in taken
    ]
    for start in (3, 7, 11):
        rest = piece_stream(given, 8, seed=1, start=start)
        for expected in whole[start:]:
            assert [piece.tolist() for piece in next(rest)] == [piece.tolist() for piece in expected]
