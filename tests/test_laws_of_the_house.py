"""The laws of the house, and what odd graphs do, end to end through the public names.

Where a law has its test beside the code, it is named here and not repeated.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pyg_kgtransfer as kgt

ROOT = Path(__file__).parent.parent / "pyg_kgtransfer"
REQUIRED = {
    "torch", "torch_geometric", "lightning_fabric", "safetensors", "jsonargparse", "networkx",
    "numpy", "scipy", "sklearn", "rich",
}  # fmt: skip
FACTS = [
    ("Athens", "capital_of", "Greece"),
    ("Sofia", "capital_of", "Bulgaria"),
    ("Rome", "capital_of", "Italy"),
    ("Greece", "borders", "Bulgaria"),
    ("Bulgaria", "borders", "Greece"),
    ("Rome", "twinned", "Athens"),
]


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def recipe(encoder: str = "shallow", **training) -> kgt.Recipe:
    options = {"epochs": 3, "progress": False, "accelerator": "cpu", **training}
    return kgt.Recipe(
        kgt.ModelConfig(encoder=encoder, width=8), training=kgt.TrainConfig(**options)
    )


def split_of(
    train: list[tuple[str, str, str]], test: list[tuple[str, str, str]], **options
) -> kgt.Split:
    """A split whose vocabularies cover both parts."""
    both = kgt.KnowledgeGraph.from_names([*train, *test], name="world", **options)
    held_out = both.triples[len(train) :]
    return kgt.Split(
        both.with_triples(both.triples[: len(train)]),
        kgt.HeldOut(held_out[:0], "valid"),
        kgt.HeldOut(held_out, "test"),
    )


def trained(split: kgt.Split, encoder: str = "shallow", **training) -> kgt.Checkpoint:
    return kgt.pretrain(kgt.link([split.train], []), recipe=recipe(encoder, **training))


def filled(checkpoint: kgt.Checkpoint, value: float) -> kgt.Checkpoint:
    with torch.no_grad():
        for parameter in checkpoint.model.parameters():
            parameter.fill_(value)
    return checkpoint


# Law 1: what tensors() gives is in tests/graph/test_knowledge_graph.py.


def is_num_relations(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name == "num_relations"


def is_half(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.FloorDiv)
        and ast.unparse(node.right) == "2"
    )


def functions_adding(kind: Callable[[ast.expr], bool]) -> set[str]:
    """``file:function`` wherever something that is an id is added to something of ``kind``."""
    found: set[str] = set()
    for file, tree in sources():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
                        sides = (node.left, node.right)
                        counts = any(ast.unparse(side).endswith("num_entities") for side in sides)
                        if any(map(kind, sides)) and not counts:
                            found.add(f"{file}:{function.name}")
    return found


def test_inverse_relations_are_made_in_one_class_only() -> None:
    assert functions_adding(is_num_relations) == {
        "graph/knowledge_graph.py:tensors",
        "graph/knowledge_graph.py:without",  # leaves the same ids out again
        "models/foundation.py:score_heads",  # asks with the inverse's vector
    }


def test_inverse_vectors_are_looked_up_where_they_are_declared() -> None:
    assert functions_adding(is_half) == {
        "models/kg_model.py:score_heads",
        "objectives/link_prediction.py:forward",
        "transfer/grow.py:_row_origin",
    }


@pytest.mark.parametrize("mode", ["sharing", "mapping", "swapping"])
def test_stored_triples_and_counts_hold_real_relations_only(mode) -> None:
    left = kgt.KnowledgeGraph.from_names(FACTS, name="left")
    right = kgt.KnowledgeGraph.from_names([("Rom", "in", "Italien")], name="right")
    alignment = kgt.Alignment.from_names(left, right, [("Italy", "Italien")])
    linked = kgt.link([left, right], [alignment], mode=mode)
    teacher = kgt.pretrain(linked, recipe=recipe("compgcn", epochs=1))
    for graph in (linked.graph, teacher.graph):
        assert graph.num_relations == 4
        assert list(graph.relations) == ["capital_of", "borders", "twinned", "in"]
        assert int(graph.triples[:, 1].max()) < 4
    assert int(linked.graph.tensors().edge_type.max()) == 7


# Law 2: that link() refuses splits and held-out facts, and held-out pairs are never used, is in
# tests/linking/test_linked.py; that a batch's own edges are left out, in training/test_trainer.py.


def test_held_out_facts_fit_nothing_that_learns() -> None:
    split = split_of(FACTS, [("Milan", "capital_of", "Italy")])
    model = trained(split).model
    for held_out in (split.test, split.valid, split):
        with pytest.raises(TypeError, match=r"only knowledge graphs .*split\.train"):
            kgt.link([held_out], [])
        with pytest.raises(TypeError, match=r"split\.train"):
            kgt.linked_subgraph(
                held_out, split.train, kgt.Alignment("", "", *[kgt.Pairs.empty()] * 2)
            )
        with pytest.raises((TypeError, AttributeError)):
            model.encode(held_out)
        with pytest.raises((TypeError, AttributeError)):
            kgt.TripleBatches(held_out)
        with pytest.raises((TypeError, AttributeError)):
            split.train.with_triples(held_out)


def test_a_recipe_reads_no_test_fact() -> None:
    """Whatever is asked, the model is the same."""
    one = split_of(FACTS, [("Rome", "capital_of", "Greece")])
    other = kgt.Split(one.train, one.valid, kgt.HeldOut(one.train.triples[:2], "test"))
    linked = kgt.link([one.train], [])
    ids = {kgt.pretrain(linked, [s], recipe=recipe("compgcn")).id for s in (one, other)}
    assert len(ids) == 1


# Law 3: each bad value and side is in tests/evaluation/test_link_prediction.py, protocols in
# test_result.py, a loss in training that is not finite in tests/training/test_loop.py.


def test_weights_that_are_not_numbers_are_an_error_everywhere(tmp_path) -> None:
    split = split_of(FACTS, [("Rome", "borders", "Greece")])
    for value in (torch.nan, torch.inf):
        broken = filled(trained(split), value)
        with pytest.raises(ValueError, match=r"every score must be finite .*borders"):
            kgt.evaluate(broken, split)
        with pytest.raises(ValueError, match="not finite"):
            kgt.Predictor(broken).tails("Rome", "borders")
        with pytest.raises(ValueError, match="finite"):
            broken.save(tmp_path / "broken")
        assert not list(tmp_path.iterdir())
        with pytest.raises(ValueError, match="finite"):
            kgt.distill(broken, split, recipe=recipe())
        with pytest.raises(ValueError, match="finite"):
            kgt.finetune(broken, split, recipe=recipe())


def test_a_scorer_that_finds_all_equal_ranks_by_chance() -> None:
    split = split_of(FACTS, [("Milan", "capital_of", "Italy")])
    indifferent = filled(trained(split), 0.0)
    result = kgt.evaluate(indifferent, split)
    assert torch.equal(result.ranks, (result.num_candidates + 1) / 2)
    assert result.metrics()["amri"] == 0.0
    answers = kgt.Predictor(indifferent).tails("Rome", "capital_of", k=3)
    assert [answer.score for answer in answers] == [0.0, 0.0, 0.0]


# Law 4: chunks and halving are in tests/evaluation/test_streaming.py and test_link_prediction.py.


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation gave."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor) and value._base is None:
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize("decoder", ["transe_l1", "transe_l2", "distmult", "complex", "rotate"])
def test_evaluation_never_holds_queries_times_entities_times_width(decoder: str) -> None:
    size, width, asked, memory_mb = 3000, 128, 100, 8
    generator = torch.Generator().manual_seed(0)
    triples = torch.stack(
        [torch.randint(n, (asked,), generator=generator) for n in (size, 2, size)], dim=1
    )
    config = kgt.ModelConfig(encoder="shallow", decoder=decoder, width=width)
    model = kgt.build_model(config, num_entities=size, num_relations=2)
    known = kgt.KnownTriples([triples], num_entities=size, num_relations=2)
    representations = model.encode(kgt.GraphTensors(torch.arange(size), triples.T, triples.T, 2))
    with LargestTensor() as largest:
        kgt.LinkPrediction(triples, known, memory_mb=memory_mb)(model, representations)
    budget = memory_mb * 2**20 // 4  # elements of 32 bits
    rows = budget // (7 * size)
    assert rows * size * width > 10 * budget  # what is never held
    assert largest.elements >= rows * size  # the scores were seen
    # RotatE alone compares in blocks, of a fixed size
    assert largest.elements <= (2**24 if decoder == "rotate" else budget)


# Law 5: kernels are held to a dense reference in tests/kernels, encoders to loops in tests/models.
# Law 6: batches are seeded draws of one tensor, see tests/training/test_batches.py; and no loader:


def names_imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_no_loader_works_item_by_item() -> None:
    for file, tree in sources():
        assert not [n for n in names_imported(tree) if "DataLoader" in n or "loader" in n], file


# Law 7: local ids of typed data become global in KnowledgeGraph.from_data, see
# tests/graph/test_knowledge_graph.py.
# Law 8: shared rows and the report are in tests/transfer/test_grow.py and test_finetune.py.
# Law 9:


def test_nothing_is_taken_from_the_layers_of_torch_geometric() -> None:
    for file, tree in sources():
        taken = {name for name in names_imported(tree) if name.startswith("torch_geometric")}
        assert all(name.startswith("torch_geometric.data.") for name in taken), (file, taken)


COMPILED = {  # imported when first run
    "kernels/numba_loops.py", "kernels/triton_kernels.py", "kernels/glove_loops.py",
    "sources/cooccurrence_loops.py",
}  # fmt: skip


def test_only_required_packages_are_imported_with_a_module() -> None:
    allowed = REQUIRED | {"pyg_kgtransfer"} | set(sys.stdlib_module_names)
    for file, tree in sources():
        if file in COMPILED:
            continue
        top = ast.Module([n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))], [])
        packages = {name.split(".")[0] for name in names_imported(top)}
        assert packages <= allowed, (file, packages - allowed)


# Odd graphs.


@pytest.mark.parametrize("encoder", ["shallow", "rgcn", "compgcn"])
def test_a_relation_unseen_in_training_is_ranked_like_all_others(encoder: str) -> None:
    split = split_of(FACTS, [("Rome", "founded_by", "Athens"), ("Rome", "borders", "Greece")])
    checkpoint = trained(split, encoder)
    result = kgt.evaluate(checkpoint, split)
    assert len(result) == 2
    assert set(result.by("relation")) == {"founded_by", "borders"}
    answers = kgt.Predictor(checkpoint).tails("Rome", "founded_by")
    assert len(answers) == split.train.num_entities
    assert not any(answer.is_known for answer in answers)
    with pytest.raises(ValueError, match=r"unknown relation: 'founded'.*'founded_by'"):
        kgt.Predictor(checkpoint).tails("Rome", "founded")


def test_an_empty_split_cannot_be_ranked_and_an_empty_graph_not_learned() -> None:
    split = split_of(FACTS, [])
    checkpoint = kgt.pretrain(kgt.link([split.train], []), [split], recipe=recipe())
    assert checkpoint.metrics["valid"] == {}
    for role in ("valid", "test"):
        with pytest.raises(ValueError, match=f"nothing to rank: the {role} split is empty"):
            kgt.evaluate(checkpoint, split, role)
    empty = split.train.with_triples(split.train.triples[:0])
    with pytest.raises(ValueError, match=r"at least one triple \(got none\)"):
        kgt.pretrain(kgt.link([empty], []), recipe=recipe())
    with pytest.raises(ValueError, match="without triples cannot be split"):
        kgt.random_split(empty)


@pytest.mark.parametrize("encoder", ["shallow", "rgcn", "compgcn"])
def test_a_self_loop_is_a_fact_like_any(encoder: str) -> None:
    split = split_of([*FACTS, ("Rome", "twinned", "Rome")], [("Sofia", "twinned", "Sofia")])
    assert split.train.degrees()[split.train.entities.id("Rome")] == 4  # it counts twice
    checkpoint = trained(split, encoder, leave_out_batch=True)
    assert checkpoint.graph.named_triples()[-1] == ("Rome", "twinned", "Rome")
    result = kgt.evaluate(checkpoint, split)
    assert result.num_candidates.tolist() == [[6, 6]]  # itself among them
    answers = kgt.Predictor(checkpoint).tails("Rome", "twinned")
    assert {answer.name for answer in answers if answer.is_known} == {"Athens", "Rome"}


def test_a_duplicated_triple_is_kept_by_the_graph_and_counts_as_often_as_it_is_asked() -> None:
    split = split_of([*FACTS, FACTS[0]], [("Milan", "capital_of", "Italy")] * 2)
    assert split.train.num_triples == len(FACTS) + 1
    assert split.train.deduplicated().num_triples == len(FACTS)
    linked = kgt.link([split.train], [])
    assert linked.graph.named_triples() == FACTS  # each joint triple is kept once
    assert linked.sizes().tolist() == [len(FACTS)]
    result = kgt.evaluate(trained(split), split)
    assert len(result) == 2
    assert torch.equal(result.ranks[0], result.ranks[1])
    once = kgt.Split(split.train, split.valid, kgt.HeldOut(split.test.triples[:1], "test"))
    assert torch.equal(kgt.evaluate(trained(once), once).ranks[0], result.ranks[0])


def test_one_entity_with_two_names_is_one_unless_the_first_graph_says_otherwise() -> None:
    left = kgt.KnowledgeGraph.from_names(FACTS, name="left")
    right = kgt.KnowledgeGraph.from_names(
        [("Hellas", "in", "Europe"), ("Ellada", "in", "Balkans")], name="right"
    )
    alignment = kgt.Alignment.from_names(
        left, right, [("Greece", "Hellas"), ("Greece", "Ellada")], confidence=[1.0, 0.9]
    )
    teacher = kgt.pretrain(kgt.link([left, right], [alignment]), recipe=recipe())
    assert teacher.graph.num_entities == left.num_entities + 2
    known = [a.name for a in kgt.Predictor(teacher).tails("Greece", "in") if a.is_known]
    assert sorted(known) == ["Balkans", "Europe"]
    with pytest.raises(ValueError, match="unknown entity: 'Hellas'"):
        kgt.Predictor(teacher).tails("Hellas", "in")
    apart = kgt.link([right, left], [alignment])  # the first graph keeps its own apart
    assert {"Hellas", "Ellada"} <= set(apart.graph.entities)
    maps = dict(zip(apart.names, apart.entity_maps, strict=True))
    assert int(maps["left"][left.entities.id("Greece")]) == right.entities.id("Hellas")


def test_two_entities_with_one_name_need_two_keys_and_may_share_a_label() -> None:
    with pytest.raises(ValueError, match=r"entity names must be unique \(got 'Georgia' twice\)"):
        kgt.KnowledgeGraph.from_names([], entities=["Georgia", "Georgia"], relations=[])
    labels = {"GE": "Georgia", "US-GA": "Georgia"}
    facts = [("Tbilisi", "capital_of", "GE"), ("Atlanta", "capital_of", "US-GA")]
    split = split_of(facts, [("Batumi", "capital_of", "GE")], labels=labels)
    checkpoint = trained(split)
    assert len(kgt.evaluate(checkpoint, split)) == 1
    predictor = kgt.Predictor(checkpoint)
    with pytest.raises(ValueError, match=r"2 entities are labelled 'Georgia'.*'GE', 'US-GA'"):
        predictor.heads("capital_of", "Georgia")
    known = [a for a in predictor.tails("Tbilisi", "capital_of") if a.is_known]
    assert [(answer.name, answer.label) for answer in known] == [("GE", "Georgia")]


def test_equal_names_of_two_graphs_stay_two_unless_aligned() -> None:
    left = kgt.KnowledgeGraph.from_names([("Georgia", "borders", "Turkey")], name="left")
    right = kgt.KnowledgeGraph.from_names([("Georgia", "borders", "Florida")], name="right")
    linked = kgt.link([left, right], [])
    assert list(linked.graph.entities) == ["Georgia", "Turkey", "right:Georgia", "Florida"]
    assert list(linked.graph.relations) == ["borders", "right:borders"]
    predictor = kgt.Predictor(kgt.pretrain(linked, recipe=recipe()))
    known = [a.name for a in predictor.tails("right:Georgia", "right:borders") if a.is_known]
    assert known == ["Florida"]
