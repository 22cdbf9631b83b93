"""Large batches in little memory: ways to encode each chunk and a loss over all of them in, the whole gradient out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tercet.training.model import Views

#: Encodes one chunk of texts, each time anew.
Make = Callable[[], Views]


def cached_backward(
    queries: Sequence[Make], documents: Sequence[Make], loss_of: Callable[[Views, Views], Tensor]
) -> tuple[Views, Views]:
    """Add the gradients of `loss_of(all queries, all documents)`, with one chunk's graph in memory at a time.

    GradCache (Gao et al., 2021): the loss needs all vectors, the model's backward pass only their gradients. So encode
    in chunks without a graph, differentiate the loss to the vectors, then encode each chunk again and push its
    gradients through. Costs a second forward pass.

    returns: the views that the loss saw
    """
    leaves, counts = [], []
    for side in (queries, documents):
        with torch.no_grad():
            made = [make() for make in side]
        counts.append([{name: len(tensor) for name, tensor in chunk.tensors().items()} for chunk in made])
        joined = Views.joined(made)
        for tensor in joined.tensors().values():
            tensor.requires_grad_()
        leaves.append(joined)
    torch.autograd.backward(loss_of(leaves[0], leaves[1]))
    for side, joined, sizes in zip((queries, documents), leaves, counts, strict=True):
        gradients = {
            name: torch.split(tensor.grad, [size[name] for size in sizes])
            for name, tensor in joined.tensors().items()
            if tensor.grad is not None
        }
        for chunk, make in enumerate(side):
            again = make().tensors()
            learning = [name for name in gradients if again[name].requires_grad]
            if learning:
                torch.autograd.backward(
                    [again[name] for name in learning], [gradients[name][chunk] for name in learning]
                )
    return leaves[0], leaves[1]
