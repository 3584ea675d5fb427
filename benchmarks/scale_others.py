"""Training steps of other libraries on the graph of the benchmark ``scale``."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.pykeen_steps import DESCRIBED, pykeen_steps
from benchmarks.timing import Work
from pyg_kgtransfer.graph.splits import Split

WIDTH, BATCH = 100, 4096


@dataclass(frozen=True)
class Other:
    """Another library's training.

    Attributes:
        steps: From the graph to so many of its steps.
        num_negatives: What our steps have a side, to have as many or more in all.
        shared: Whether ours are drawn once a batch.
        described: What theirs is, in words.
    """

    steps: Callable[[Split, int], Work]
    num_negatives: int
    shared: bool
    described: str


def pykeen_scale_steps(split: Split, steps: int) -> Work:
    """PyKEEN's sLCWA loop: DistMult, Adam, 256 negatives for each fact."""
    sizes = {"num_entities": split.train.num_entities, "num_relations": split.train.num_relations}
    part = split.train.triples[: steps * BATCH].clone()
    return pykeen_steps(part, sizes, width=WIDTH, batch_size=BATCH)


def _pyg_steps(split: Split, steps: int, *, sparse: bool) -> Work:
    from torch_geometric.nn.kge import DistMult

    model = DistMult(split.train.num_entities, split.train.num_relations, WIDTH, sparse=sparse)
    kind = torch.optim.SparseAdam if sparse else torch.optim.Adam
    optimizer = kind(list(model.parameters()), lr=1e-3)
    head, relation, tail = split.train.triples.unbind(1)
    loader = model.loader(head, relation, tail, batch_size=BATCH, shuffle=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))  # goes on from call to call
    model.train()

    def work() -> None:
        for batch in itertools.islice(batches, steps):
            optimizer.zero_grad()
            model.loss(*batch).backward()
            optimizer.step()

    return work


def pyg_dense_steps(split: Split, steps: int) -> Work:
    """PyG's ``nn.kge``: its own loader and loss, with one negative for each fact; Adam."""
    return _pyg_steps(split, steps, sparse=False)


def pyg_sparse_steps(split: Split, steps: int) -> Work:
    """The same with sparse gradients and SparseAdam."""
    return _pyg_steps(split, steps, sparse=True)


OTHERS = {
    "pykeen_independent": Other(
        pykeen_scale_steps,
        128,
        False,
        f"{DESCRIBED}; Adam, 256 negatives of each fact; ours 128 a side",
    ),
    "pykeen_shared": Other(
        pykeen_scale_steps, 128, True, "the same; ours 128 a side, drawn once a batch"
    ),
    "pyg_dense": Other(
        pyg_dense_steps,
        1,
        False,
        "PyG nn.kge, its own loader and loss, Adam, 1 negative; ours 1 a side",
    ),
    "pyg_sparse": Other(
        pyg_sparse_steps, 1, False, "the same with sparse=True and SparseAdam; ours 1 a side"
    ),
}
