"""Memory-mapped graphs: the same graph, read where it is used; what is not whole is refused."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
from pyg_kgtransfer.graph.vocabulary import Vocabulary
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
    data = folder / "graph-1.safetensors"
    content = data.read_bytes()
    data.write_bytes(content[:-8])
    with pytest.raises(ValueError, match=r"must have [\d,]+ bytes .* copied in part"):
        read_mapped(folder)
    data.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks its file graph-1\.safetensors"):
        read_mapped(folder)
    data.write_bytes(b"\0" * len(content))
    with pytest.raises(ValueError, match="must be a safetensors file"):
        read_mapped(folder)
    index = folder / "graph.json"
    index.write_text(json.dumps({"format": 9}))
    with pytest.raises(ValueError, match=r"must have format 1.*\(got 9\)"):
        read_mapped(folder)
    index.write_text(json.dumps({"format": 1}))
    with pytest.raises(ValueError, match=r"must name two files, of facts and names \(got 0\)"):
        read_mapped(folder)


def test_what_was_changed_within_its_size_is_found_where_asked_for(tmp_path: Path) -> None:
    split = planted(24)
    folder = write_mapped(split, tmp_path / "graph")
    assert read_mapped(folder, verify=True).train.num_triples == split.train.num_triples
    data = folder / "graph-1.safetensors"
    first, second = (row.numpy().tobytes() for row in split.train.triples[:2])
    data.write_bytes(data.read_bytes().replace(first, second, 1))
    read_mapped(folder)
    with pytest.raises(ValueError, match=r"must be those that were written.*it was changed"):
        read_mapped(folder, verify=True)


def test_a_strangers_folder_stays_as_it_is(tmp_path: Path) -> None:
    for name, files in {
        "index": {"graph.json": '{"nodes": []}', "thesis.txt": "all of it"},
        "alone": {"graph.json": '{"nodes": []}'},
        "names": {"names.json": "[]", "graph.safetensors": "mine"},
    }.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(content)
        with pytest.raises(FileExistsError, match=f"something else.*got {min(files)}"):
            write_mapped(planted(24), tmp_path / name)
        found = {path.name: path.read_text() for path in (tmp_path / name).iterdir()}
        assert found == files
    folder = write_mapped(planted(24), tmp_path / "graph")
    (folder / "thesis.txt").write_text("all of it")
    with pytest.raises(FileExistsError, match=r"got thesis\.txt"):
        write_mapped(planted(28), folder)
    assert read_mapped(folder).train.num_entities == 24


def test_a_write_that_fails_leaves_the_graph_before(tmp_path: Path) -> None:
    folder = write_mapped(planted(24), tmp_path / "graph", features={"text": torch.eye(24)})
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["graph-1.safetensors", "graph.json", "names-1.json"]
    other = planted(28)
    names = Vocabulary(["\ud800", *list(other.train.entities)[1:]], kind="entity")
    broken = replace(other, train=replace(other.train, entities=names))  # no UTF-8 has that name
    for given in (folder, tmp_path / "first"):
        with pytest.raises(UnicodeEncodeError):
            write_mapped(broken, given)
    assert sorted(path.name for path in folder.iterdir()) == files
    assert read_mapped(folder).train.num_entities == 24
    assert torch.equal(read_features(folder)["text"], torch.eye(24))
    assert not list((tmp_path / "first").iterdir())


def test_what_a_kill_left_is_no_hindrance(tmp_path: Path) -> None:
    for name in (".part-71-abc.safetensors", "graph-3.safetensors", "names-3.json"):
        (tmp_path / name).write_text("the first ha")
    assert read_mapped(write_mapped(planted(24), tmp_path)).train.num_entities == 24
    files = ["graph-4.safetensors", "graph.json", "names-4.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    (tmp_path / ".part-72-abc.json").write_text("{")
    again = read_mapped(tmp_path)
    assert read_mapped(write_mapped(again, tmp_path)).train.triples.equal(again.train.triples)
    assert len(list(tmp_path.iterdir())) == 3


def test_features_are_refused_before_work_starts(tmp_path: Path) -> None:
    for strange, got in ((torch.eye(24).to_sparse(), r"torch\.sparse_coo"), ([1.0], "list")):
        with pytest.raises(ValueError, match=rf"dense tensors \(got {got} for 'text'\)"):
            write_mapped(planted(24), tmp_path / "graph", features={"text": strange})
    assert not (tmp_path / "graph").exists()


def sizes_of_clusters(triples: torch.Tensor) -> list[int]:
    """Entities that are tails of one head and relation are of one cluster: sizes, falling."""
    parent: dict[int, int] = {}

    def root(entity: int) -> int:
        while parent.setdefault(entity, entity) != entity:
            entity = parent[entity]
        return entity

    first: dict[tuple[int, int], int] = {}
    for head, relation, tail in triples.tolist():
        parent[root(tail)] = root(first.setdefault((head, relation), tail))
    return sorted(Counter(map(root, list(parent))).values(), reverse=True)


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
    sizes = sizes_of_clusters(every)
    assert [size for size in sizes if size > 50] == sizes[:30]
    assert max(sizes) <= 100
    mixed = every[torch.randperm(len(every), generator=torch.Generator().manual_seed(0)), 2]
    assert sizes_of_clusters(torch.cat([every[:, :2], mixed[:, None]], 1))[1] < 50  # but for one
    with pytest.raises(ValueError, match="distinct facts cannot be drawn"):
        large_planted(LargeOptions(4, 1, 100, num_held_out=0, num_clusters=2))
