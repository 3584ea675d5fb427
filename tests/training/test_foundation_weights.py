"""Weights of foundation models: kept whole, read without trust."""

from pathlib import Path

import pytest
import torch

import pyg_kgtransfer as kgt


@pytest.fixture
def model() -> kgt.FoundationModel:
    return kgt.FoundationModel(width=4, layers=2)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_written_and_read(model: kgt.FoundationModel, tmp_path: Path, suffix: str) -> None:
    path = kgt.write_foundation(model, tmp_path / f"mine{suffix}")
    again = kgt.read_foundation(path)
    assert again.relation_model.width == 4
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_weights_of_another_architecture_are_named(
    model: kgt.FoundationModel, tmp_path: Path
) -> None:
    def told(change) -> str:
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        change(weights)
        torch.save({"model": weights}, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=r"other\.pth") as error:
            kgt.read_foundation(tmp_path / "other.pth")
        return str(error.value)

    key = "entity_model.mlp.0.weight"
    assert "(8, 8) (got (3, 8))" in told(lambda w: w.update({key: torch.zeros(3, 8)}))
    assert "no such key" in told(lambda w: w.pop(key))
    assert "has no more" in told(lambda w: w.update(more=torch.zeros(1)))
    assert "has the key" in told(lambda w: (w.clear(), w.update(a=torch.zeros(1))))


class _Harmful:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_nothing_but_tensors_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(ValueError, match="tensors alone"):
        kgt.read_foundation(tmp_path / "harmful.pth")
    assert not (tmp_path / "touched").exists()
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ValueError, match="tensors alone"):
        kgt.read_foundation(tmp_path / "text.pth")
    with pytest.raises(FileNotFoundError):
        kgt.read_foundation(tmp_path / "none.pth")


def test_what_is_not_finite_is_not_written(model: kgt.FoundationModel, tmp_path: Path) -> None:
    with torch.no_grad():
        model.entity_model.mlp[0].bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"entity_model\.mlp\.0\.bias"):
        kgt.write_foundation(model, tmp_path / "mine.pth")
    torch.save({"model": model.state_dict()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"entity_model\.mlp\.0\.bias"):
        kgt.read_foundation(tmp_path / "bad.pth")
    (tmp_path / "bad.pth").unlink()
    with pytest.raises(ValueError, match="weights go to"):
        kgt.write_foundation(model, tmp_path / "mine.txt")
    assert not list(tmp_path.iterdir())
