"""Filtered ranks by counting: in one pass over each row of scores where an engine can."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.functional import ranking
from pyg_kgtransfer.functional.segments import segment_offsets
from pyg_kgtransfer.kernels import numba_engine
from pyg_kgtransfer.kernels.engines import engine_name


class Counts(NamedTuple):
    """How each true answer stands among the candidates that compete.

    Attributes:
        greater: int64 [T], how many score above it.
        equal: int64 [T], how many others score exactly as it does.
        competing: int64 [T], how many compete, itself included.
    """

    greater: Tensor
    equal: Tensor
    competing: Tensor


class NotFiniteScoreError(ValueError):
    """A score is NaN or infinite, in row ``row``."""

    def __init__(self, row: int) -> None:
        super().__init__(f"every score must be finite (row {row} is not)")
        self.row = row


def filtered_counts(
    scores: Tensor, known: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor], *, chunk: int
) -> Counts:
    """Count what scores above, and exactly as, each true answer, known answers left out.

    Args:
        scores: [B, K]; not changed.
        known: rows [P], ascending, and columns [P] of the known answers.
        true: rows [T], ascending, and columns [T] of the answers that are ranked.
        chunk: True answers compared at a time where no loop is compiled.

    Raises:
        NotFiniteScoreError: If a score is NaN or infinite.

    Example:
        >>> scores = torch.tensor([[3.0, 1.0, 1.0, 9.0]])
        >>> known, true = torch.tensor([[0], [3]]), torch.tensor([[0], [1]])
        >>> filtered_counts(scores, (known[0], known[1]), (true[0], true[1]), chunk=1)
        Counts(greater=tensor([1]), equal=tensor([1]), competing=tensor([3]))
    """
    is_plain = scores.dtype in (torch.float32, torch.float64)
    if is_plain and engine_name(scores.device) == "numba":
        lists = [(segment_offsets(row, len(scores)), column) for row, column in (known, true)]
        greater, equal, competing, wrong = numba_engine.count_above(scores, lists[0], lists[1])
        if bool(wrong.any()):
            raise NotFiniteScoreError(int(wrong.nonzero()[0]))
        return Counts(greater, equal, competing)
    low, high = torch.aminmax(scores)  # NaN and infinities show in them
    if not (bool(torch.isfinite(low)) and bool(torch.isfinite(high))):
        raise NotFiniteScoreError(int((~torch.isfinite(scores)).any(1).nonzero()[0]))
    rows, columns = (torch.cat(pair) for pair in zip(known, true, strict=True))
    filtered = ranking.filter_scores(scores, rows, columns)
    greater, equal = ranking.rank_counts(filtered, true[0], scores[true], chunk=chunk)
    return Counts(greater, equal, ranking.competitor_counts(filtered)[true[0]] + 1)
