"""Memory-mapped graphs: the same graph, read where it is used; what is not whole is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
from pyg_kgtransfer.sources.mapped import read_features, read_mapped, write_mapped
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.sources.synthetic_large import LargeOptions, large_planted


def resident(kind: str) -> int:
    """Kilobytes of the process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


def test_a_split_comes_back(tmp_path: Path) -> None:
    split = replace(planted(24), symmetric=(2,))
    graph = replace(split.train, labels=tuple(f"«{name}»" for name in split.train.entities))
    split = replace(split, train=graph)
    again = read_mapped(write_mapped(split, tmp_path / "graph"))
    assert again.train.fingerprint() == graph.fingerprint()
    assert again.train.name == graph.name
    assert again.train.labels == graph.labels
    assert again.train.entity_types == graph.entity_types
    assert torch.equal(again.train.entity_type, graph.entity_type)
    for part in ("valid", "test"):
        assert torch.equal(getattr(again, part).triples, getattr(split, part).triples)
    assert again.symmetric == (2,)


def test_supplied_negatives_come_back(tmp_path: Path) -> None:
    split = planted(24)
    heads = torch.randint(24, (len(split.test), 3), dtype=torch.int32)
    given = replace(split.test, negatives=SuppliedNegatives(heads, heads + 0))
    again = read_mapped(write_mapped(replace(split, test=given), tmp_path))
    assert torch.equal(again.test.negatives.head, heads)
    assert again.valid.negatives is None


def test_features_take_no_memory_until_they_are_read(tmp_path: Path) -> None:
    table = torch.ones(60_000, 256)  # 61 MB
    folder = write_mapped(planted(24), tmp_path, features={"text": table})
    before = resident("VmRSS")
    found = read_features(folder)["text"]
    assert resident("VmRSS") - before < 20_000
    assert torch.equal(found[::10_000], table[::10_000])


def test_a_graph_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    write_mapped(planted(24), tmp_path / "graph")
    other = planted(28)
    assert read_mapped(write_mapped(other, tmp_path / "graph")).train.num_entities == 28
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(FileExistsError, match="something else"):
        write_mapped(other, tmp_path / "mine")


def test_what_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = write_mapped(planted(24), tmp_path / "graph")
    with pytest.raises(FileNotFoundError, match="no memory-mapped graph"):
        read_mapped(tmp_path)
    data = folder / "graph.safetensors"
    content = data.read_bytes()
    data.write_bytes(content[:-8])
    with pytest.raises(ValueError, match=r"must have [\d,]+ bytes .* copied in part"):
        read_mapped(folder)
    data.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks its file graph\.safetensors"):
        read_mapped(folder)
    data.write_bytes(b"\0" * len(content))
    with pytest.raises(ValueError, match="must be a safetensors file"):
        read_mapped(folder)
    index = folder / "graph.json"
    index.write_text(json.dumps({"format": 9}))
    with pytest.raises(ValueError, match=r"must have format 1.*\(got 9\)"):
        read_mapped(folder)


def test_a_large_planted_graph_is_as_told() -> None:
    options = LargeOptions(3000, 7, 20_000, num_held_out=100, num_clusters=30)
    split = large_planted(options, seed=1)
    graph = split.train
    assert (graph.num_entities, graph.num_relations, graph.num_triples) == (3000, 7, 20_000)
    every = torch.cat([graph.triples, split.valid.triples, split.test.triples])
    assert len(torch.unique(every, dim=0)) == len(every) == 20_200
    assert torch.equal(large_planted(options, seed=1).test.triples, split.test.triples)
    degrees = graph.degrees().sort(descending=True).values
    assert degrees[:300].sum() > 0.25 * degrees.sum()  # a tenth of the entities
    pairs = {}  # a relation leads from a cluster to one other: where tails of one head are alike
    for head, relation, tail in every.tolist():
        pairs.setdefault((head, relation), set()).add(tail)
    tails = {tail for found in pairs.values() for tail in found if len(found) > 40}
    assert not tails or len(tails) <= 100 * len(pairs)
    with pytest.raises(ValueError, match="distinct facts cannot be drawn"):
        large_planted(LargeOptions(4, 1, 100, num_held_out=0, num_clusters=2))
