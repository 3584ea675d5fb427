"""More facts than are stated: those that rules propose are learned, too."""

import hashlib

import torch
from torch import Tensor

from pyg_kgtransfer.functional import sampling
from pyg_kgtransfer.graph.rules import Proposals
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective


class ProposedFacts(Objective):
    """A loss on facts that rules propose; each step draws some, the surest the most often.

    Mine the rules from training facts alone: then a proposal is a prediction from them, right or
    wrong, and one that happens to be a held-out fact is a right prediction, not a leak.

    Args:
        proposals: From ``propose_facts``; the chance of each to be drawn is in proportion to its
            weight.
        objective: What is minimised on them, say the task's own loss. Where it reads known facts
            (k-vs-all labels, filtered negatives), let it know the proposals, too.
        sample_size: Draws in a step, at least 1, with replacement.

    Raises:
        ValueError: If nothing is proposed, or ``sample_size`` is below 1.

    Source: rules as in Galarraga et al. 2013 ("AMIE"); learning what they infer as in Guo et al.
    2018, arXiv 1711.11231 (RUGE), whose soft labels, predicted anew in each round, are a fixed
    confidence here.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{a}", "next", f"{a + 1}") for a in range(12)]
        >>> facts += [(b, "before", a) for a, _, b in facts[:11]]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> proposals = kgt.propose_facts(graph, kgt.mine_rules(graph))
        >>> graph.with_triples(proposals.triples).named_triples()
        [('12', 'before', '11')]
        >>> config = kgt.ModelConfig(encoder="shallow", width=8)
        >>> model = kgt.build_model(config, num_entities=13, num_relations=2)
        >>> batch = kgt.Batch(graph.triples, torch.Generator())
        >>> objective = kgt.ProposedFacts(proposals, kgt.OneVsAll(), sample_size=4)
        >>> objective(model, model.encode(graph.tensors()), batch).shape
        torch.Size([])
    """

    def __init__(
        self, proposals: Proposals, objective: Objective, *, sample_size: int = 256
    ) -> None:
        super().__init__()
        if not len(proposals.triples):
            raise ValueError("learning what rules propose needs a proposal (got none)")
        if sample_size < 1:
            raise ValueError(f"sample_size must be at least 1 (got {sample_size})")
        self.objective: Objective = objective
        self.sample_size = sample_size
        proposed = b"".join(each.cpu().numpy().tobytes() for each in proposals)
        self.fingerprint = hashlib.sha256(proposed).hexdigest()  # a resumed run has the same
        self.register_buffer("triples", proposals.triples, persistent=False)
        self.register_buffer("weight", proposals.weight, persistent=False)

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        return torch.stack(list(self.terms(model, representations, batch).values())).sum()

    def terms(
        self, model: GraphModel, representations: Representations, batch: Batch
    ) -> dict[str, Tensor]:
        weight = self.get_buffer("weight")
        drawn = sampling.weighted_candidates((self.sample_size,), weight, generator=batch.generator)
        proposed = batch._replace(triples=self.get_buffer("triples")[drawn], source=None)
        return self.objective.terms(model, representations, proposed)
