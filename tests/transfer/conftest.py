"""A sparse target, a rich source over the same hidden world, and teachers of both."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.sources.synthetic import PlantedPair, planted_pair
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.recipe import Recipe

State = dict[str, Tensor]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pair() -> PlantedPair:
    return planted_pair(40)


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """Recipes that learn the planted graphs in a second."""

    def recipe(
        encoder: str = "shallow", *, width: int = 32, n3: float = 0.05, seed: int = 0, **training
    ) -> Recipe:
        chosen = {"epochs": 60, "learning_rate": 0.1, "optimizer": "adagrad", "validate_every": 20}
        if encoder != "shallow":
            chosen |= {"learning_rate": 0.02, "optimizer": "adam"}
        return Recipe(
            ModelConfig(encoder=encoder, width=width),
            ObjectiveConfig(n3=n3 if encoder == "shallow" else 0.0),
            BatchOptions(batch_size=512),
            TrainConfig(progress=False, accelerator="cpu", seed=seed, **(chosen | training)),
        )

    return recipe


@pytest.fixture(scope="session")
def aligned(pair: PlantedPair) -> Callable[[KnowledgeGraph], Alignment]:
    """The alignment of the sparse graph to the rich one, or to its shuffled control."""

    def alignment(source: KnowledgeGraph) -> Alignment:
        return Alignment.from_names(pair.sparse.train, source, pair.entity_pairs)

    return alignment


@pytest.fixture(scope="session")
def linked(pair: PlantedPair, aligned: Callable[[KnowledgeGraph], Alignment]) -> LinkedKG:
    return link([pair.sparse.train, pair.rich], [aligned(pair.rich)])


@pytest.fixture(scope="session")
def teacher(linked: LinkedKG, make_recipe: Callable[..., Recipe]) -> Checkpoint:
    """A shallow teacher of both graphs."""
    return pretrain(linked, recipe=make_recipe())


@pytest.fixture(scope="session")
def deep_teacher(linked: LinkedKG, make_recipe: Callable[..., Recipe]) -> Checkpoint:
    """A CompGCN teacher of both graphs."""
    return pretrain(linked, recipe=make_recipe("compgcn"))


@pytest.fixture
def state_of() -> Callable[[torch.nn.Module], State]:
    """A copy of a module's weights."""
    return lambda module: {name: value.clone() for name, value in module.state_dict().items()}
