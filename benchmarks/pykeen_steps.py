"""Training steps of PyKEEN, counted, to be timed beside ours."""

from collections.abc import Mapping

from torch import Tensor

from benchmarks.timing import Work

DESCRIBED = (
    "PyKEEN 1.11's own sLCWA loop with its defaults: DistMult normalises the entity table after "
    "each step and has an Lp regularizer; an epoch is the part of the facts that the steps need"
)


def pykeen_steps(
    triples: Tensor,
    sizes: Mapping[str, int],
    *,
    width: int,
    batch_size: int,
    num_negatives: int = 256,
) -> Work:
    """A call is an epoch over the given facts, with Adam; the first one also sets up and probes.

    Later calls go on where the one before stopped: a loop that is told to train one epoch in all
    again trains none.

    Args:
        triples: [steps * batch_size, 3] facts of a call.
        sizes: ``num_entities`` and ``num_relations``.
        width: D.
        batch_size: Facts a step.
        num_negatives: Of each fact.

    Raises:
        RuntimeError: In a call, if the optimizer did not take the steps.
    """
    from pykeen.models import DistMult
    from pykeen.training import SLCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory

    part = CoreTriplesFactory(triples, **sizes)
    model = DistMult(triples_factory=part, embedding_dim=width, loss="softplus", random_seed=0)
    loop = SLCWATrainingLoop(
        model=model, triples_factory=part, optimizer="adam",
        negative_sampler_kwargs={"num_negs_per_pos": num_negatives},
    )  # fmt: skip
    steps, calls = -(-len(triples) // batch_size), 0

    def work() -> None:
        nonlocal calls
        calls += 1
        loop.train(part, num_epochs=calls, batch_size=batch_size, continue_training=calls > 1,
                   use_tqdm=False, use_tqdm_batch=False)  # fmt: skip
        taken = int(next(iter(loop.optimizer.state.values()))["step"])
        if taken != calls * steps:
            raise RuntimeError(f"PyKEEN must take {steps} steps a call (got {taken} in {calls})")

    return work
