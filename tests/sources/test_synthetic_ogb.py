"""Miniatures of OGB's data sets: sound facts and negatives, the same for a seed."""

import warnings

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.sources.ogb import OGB
from pyg_kgtransfer.sources.synthetic_ogb import MiniatureOptions, write_miniature

SMALL = MiniatureOptions(num_facts=50, num_negatives=7)


@pytest.mark.parametrize("name", OGB)
def test_facts_are_apart_and_negatives_are_none(name, tmp_path) -> None:
    write_miniature(name, tmp_path, SMALL)
    split = kgt.load_ogb(name, tmp_path, cache=tmp_path)
    parts = [split.train.triples, split.valid.triples, split.test.triples]
    every = torch.cat(parts)
    assert len(torch.unique(every, dim=0)) == len(every)
    known, kinds = split.known(), split.train.entity_type
    for part in (split.valid, split.test):
        head, relation, tail = (column.unsqueeze(1) for column in part.triples.unbind(1))
        for column, wrong in ((0, part.negatives.head.long()), (2, part.negatives.tail.long())):
            ends = (wrong, relation, tail) if column == 0 else (head, relation, wrong)
            assert not known.contains(torch.stack(torch.broadcast_tensors(*ends), -1)).any()
            if kinds is not None:  # of the answer's type
                assert (kinds[wrong] == kinds[part.triples[:, column, None]]).all()


@pytest.mark.parametrize("name", OGB)
def test_the_loader_of_ogb_without_pyg_opens_it(name, tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("ogb")
    from ogb.linkproppred import LinkPropPredDataset

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    write_miniature(name, tmp_path, SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        theirs = LinkPropPredDataset(name, root=str(tmp_path))
        parts = theirs.get_edge_split()
    capsys.readouterr()
    split = kgt.load_ogb(name, tmp_path, cache=tmp_path)
    for part, facts in (("valid", split.valid), ("test", split.test)):
        assert parts[part]["head_neg"].shape == facts.negatives.head.shape


def test_a_seed_gives_the_same_files(tmp_path) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        root = tmp_path / str(number)
        write_miniature("ogbl-biokg", root, MiniatureOptions(num_facts=30, seed=seed))
        split = kgt.load_ogb("ogbl-biokg", root, cache=root)
        found.append((split.train.fingerprint(), split.test.negatives.tail.tolist()))
    assert found[0] == found[1] != found[2]


def test_what_cannot_be_written_is_told(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"miniatures of ogbl-biokg, .* \(got 'ogbl-ppa'\)"):
        write_miniature("ogbl-ppa", tmp_path)
    with pytest.raises(ValueError, match="at least 20 entities"):
        MiniatureOptions(num_entities=5)
    write_miniature("ogbl-wikikg2", tmp_path, SMALL)
    with pytest.raises(FileExistsError):
        write_miniature("ogbl-wikikg2", tmp_path, SMALL)
