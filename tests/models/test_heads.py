"""The tiled, packed heads against their textbook forms with all logits at once."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tercet.checkpoint import SparseForm
from tercet.models import heads
from tercet.models.heads import LateHead, MaxOverTokens, SparseHead, dense_head

LENGTHS = [4, 7, 1]
VOCABULARY = 50


@pytest.fixture
def head() -> SparseHead:
    torch.manual_seed(0)
    head = SparseHead(16, VOCABULARY, 8).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return head


@pytest.fixture
def texts() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(sum(LENGTHS), 16, dtype=torch.double), torch.randint(0, VOCABULARY, (sum(LENGTHS),))


def textbook(head: SparseHead, states: Tensor, ids: Tensor) -> Tensor:
    """Every logit of every token, the bonus added to a token's own word, then torch.max."""
    projected, bonus = head.token_terms(states, ids, LENGTHS)
    logits = projected @ head.decoder.T + F.one_hot(ids, VOCABULARY) * bonus[:, None]
    return torch.log1p(torch.relu(torch.stack([part.amax(0) for part in logits.split(LENGTHS)]) + head.bias))


@pytest.mark.parametrize(("tokens", "terms"), [(512, 1024), (5, 7), (1, 50)])
def test_tiles_change_neither_weights_nor_gradients(
    head: SparseHead, texts: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, tokens: int, terms: int
) -> None:
    monkeypatch.setattr(heads, "TILE_TOKENS", tokens)
    monkeypatch.setattr(heads, "TILE_TERMS", terms)
    ours, expected = head(*texts, LENGTHS), textbook(head, *texts)
    direction = torch.randn_like(expected)

    assert torch.allclose(ours, expected, atol=1e-12)
    for got, want in zip(
        torch.autograd.grad((ours * direction).sum(), list(head.parameters())),
        torch.autograd.grad((expected * direction).sum(), list(head.parameters())),
        strict=True,
    ):
        assert torch.allclose(got, want, atol=1e-10)


def test_the_gradient_is_the_numerical_one() -> None:
    torch.manual_seed(2)
    projected, decoder = torch.randn(5, 3).double().requires_grad_(), torch.randn(6, 3).double().requires_grad_()
    bonus = torch.rand(5).double().requires_grad_()
    ids = torch.tensor([0, 3, 3, 5, 1])

    assert torch.autograd.gradcheck(
        lambda p, d, b: MaxOverTokens.apply(p, d, b, ids, (2, 3)), (projected, decoder, bonus)
    )


def test_full_rank_starts_as_the_words_own_similarities() -> None:
    torch.manual_seed(3)
    words = torch.randn(VOCABULARY, 16)
    head = SparseHead(16, VOCABULARY, 16)
    head.start_from(words, torch.zeros(VOCABULARY))
    centred = F.normalize(words - words.mean(0), dim=-1)
    hidden = head.norm(F.gelu(centred) + centred)

    assert torch.allclose(head.project(hidden) @ head.decoder.T, hidden @ centred.T, atol=1e-4)


def test_the_dense_head_is_the_mean_at_length_one() -> None:
    states = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 3.0]])

    assert torch.allclose(dense_head(states, [2, 1]), torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))


def test_principal_components_keep_similarities_better_than_chance() -> None:
    torch.manual_seed(4)
    states = torch.randn(400, 4) @ torch.randn(4, 16) + 0.1 * torch.randn(400, 16)
    started, random = LateHead(16, 4), LateHead(16, 4)
    started.start_from(states)
    unit = F.normalize(states, dim=-1)
    exact = unit @ unit.T

    def error(head: LateHead) -> float:
        rows = head(states)
        return float((rows @ rows.T - exact).square().mean().detach())

    assert error(started) < 0.01 < error(random)


def test_a_word_that_stands_twice_weighs_more_by_its_frequency_alone() -> None:
    torch.manual_seed(0)
    head = SparseHead(8, 12, 4, SparseForm(term_frequency=True))
    assert head.frequency is not None
    states, ids = torch.randn(5, 8), torch.tensor([3, 7, 3, 3, 7])
    _, bonus = head.token_terms(states, ids, [3, 2])
    head.frequency.bias.data.fill_(-1e9)  # softplus of it is 0
    head.frequency.weight.data.zero_()
    _, without = head.token_terms(states, ids, [3, 2])

    # In the first text 3 stands twice; in the second each token stands once.
    gained = (bonus - without).tolist()
    assert [gain > 0 for gain in gained] == [True, False, True, False, False]
