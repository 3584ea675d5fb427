"""Zero-shot: a foundation model reads a graph of entities and relations it has never seen."""

from pathlib import Path

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.models.build import FOUNDATION, ModelConfig
from pyg_kgtransfer.models.foundation import FoundationModel
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps, provenance
from pyg_kgtransfer.training.checkpoint_format import weights_digest
from pyg_kgtransfer.training.foundation_weights import read_foundation
from pyg_kgtransfer.transfer.ranking import alone


def zero_shot(model: FoundationModel | Path | str, graph: KnowledgeGraph) -> Checkpoint:
    """A foundation model and a graph that it answers from, without training.

    What comes out is a checkpoint as any other: rank with it, ask it, compare it, save it, and
    ``finetune`` it. Its provenance lists the graph, which is read but not learned from, and under
    ``"zero_shot"`` the digest of the weights.

    Args:
        model: The model, or a file of weights, as ``read_foundation`` takes it, or the folder of a
            checkpoint of one.
        graph: What is known. The facts asked about must not be among its own.

    Raises:
        ValueError: If the graph has no facts, or there is no foundation model at the path.
        FileNotFoundError: If there is no such file.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "capital_of", "Greece"), ("Rome", "capital_of", "Italy")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts, name="world")
        >>> checkpoint = zero_shot(kgt.FoundationModel(width=8, layers=2), graph)
        >>> len(kgt.Predictor(checkpoint).tails("Rome", "capital_of"))
        4
    """
    if not graph.num_triples:
        raise ValueError(
            f"a foundation model answers from facts, and {graph.name!r} has none (got 0 triples)"
        )
    if not isinstance(model, FoundationModel):
        model = _read(Path(model))
    network = model.relation_model
    config = ModelConfig(
        encoder=FOUNDATION, decoder="distmult", width=network.width, layers=len(network.layers)
    )
    notes = provenance() | {"zero_shot": {"weights": weights_digest(model)}}
    sources = SourceMaps.of(alone(graph))
    return Checkpoint(model.eval(), graph, config, provenance=notes, sources=sources)


def _read(path: Path) -> FoundationModel:
    if not path.is_dir():
        return read_foundation(path)
    model = Checkpoint.load(path).model
    if not isinstance(model, FoundationModel):
        raise ValueError(
            f"{path} must hold a foundation model, which belongs to no graph "
            f"(got a {type(model).__name__}): move another with 'kgt finetune'"
        )
    return model
