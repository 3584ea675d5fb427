"""Whom a checkpoint favours among the entities of a target."""

import torch

from pyg_kgtransfer.evaluation.bias import BiasResult, bias_of
from pyg_kgtransfer.graph.entity_groups import EntityGroups, GivenGroups, groups_of
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.ranking import place_in, ranking_of


def measure_bias(
    checkpoint: Checkpoint,
    split: Split,
    groups: GivenGroups | None = None,
    *,
    role: str = "test",
    temperature: float = 1.0,
    memory_mb: float = 512,
) -> BiasResult:
    """Rank a split's held-out facts among all its entities, and measure whom the scores favour.

    Where facts come with negatives (``load_ogb``), ``evaluate`` ranks among these and its metrics
    are others: whom a model favours shows among all, not among a few that somebody chose.

    Args:
        checkpoint: Trained on the split's graph, alone or among others.
        split: The target; popularity is the number of its training facts that an entity is in.
        groups: From its entities, by name, to the names of their groups, or [N] int64; those
            without are a group of their own. ``None``: the entity types, where there are some.
        role: ``"valid"`` or ``"test"``.
        temperature: Scores are divided by it before the softmax that makes them shares.
        memory_mb: Budget for a chunk of scores, in MiB.

    Returns:
        Ranks, shares and popularity bias, in the checkpoint's ids.

    Raises:
        ValueError: If an entity of ``groups`` is unknown (the nearest names are offered), the
            checkpoint was not trained on the split's graph, the part is empty, or a score is not
            finite.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(30)]
        >>> split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="numbers"))
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> checkpoint = kgt.pretrain(kgt.link([split.train], []), recipe=recipe)
        >>> odd = {name: "odd" for name in split.train.entities if int(name) % 2}
        >>> found = kgt.measure_bias(checkpoint, split, odd)
        >>> [(row["group"], row["candidates"]) for row in found.rows("group")]
        [('odd', 15), ('no group', 16)]
        >>> found.popularity_bias().low <= found.popularity_bias().value
        True
    """
    own = groups_of(split.train, groups)
    rank = ranking_of(split, role, reader=checkpoint, memory_mb=memory_mb)
    if own is not None:
        place = place_in(split.train, checkpoint)
        member = torch.zeros(place.graph.num_entities, dtype=torch.long)  # others are not asked
        member[place.entity_map] = own.member
        own = EntityGroups(own.names, member)
    device = next(checkpoint.model.parameters()).device
    with torch.no_grad():
        read = checkpoint.model.eval().encode(checkpoint.graph.tensors(device))
    return bias_of(rank, checkpoint.model, read, own, temperature=temperature)
