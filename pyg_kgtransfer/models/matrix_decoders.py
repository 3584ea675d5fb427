"""Decoders with matrices of weights: TransR, TuckER and ConvE."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyg_kgtransfer.functional import scores
from pyg_kgtransfer.models.decoders import Decoder


class TransR(Decoder):
    """-||h M_r + r - t M_r||_2^2, with a matrix M_r [D, rank] for each relation.

    Args:
        rank: Width of the relations' spaces, at least 1. A relation vector holds
            rank + D * rank numbers, r first.

    Raises:
        ValueError: If ``rank`` is below 1.

    Source: Lin et al. 2015, "Learning Entity and Relation Embeddings for Knowledge Graph
    Completion", eq. 7 and 8, without the constraints on norms.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> athens, greece = torch.tensor([[[1.0, 7.0]], [[3.0, -2.0]]])
        >>> first_number = torch.tensor([[2.0, 1.0, 0.0]])  # r = 2 in the space of the first number
        >>> decoder = kgt.TransR(rank=1)
        >>> abs(decoder.compare(decoder.tail_query(athens, first_number), greece).item())
        0.0
    """

    def __init__(self, *, rank: int = 32) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"TransR needs a rank of at least 1 (got {rank})")
        self.rank = rank

    def relation_width(self, entity_width: int) -> int:
        return self.rank + entity_width * self.rank

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        shift, matrix = relation[:, : self.rank], relation[:, self.rank :]
        return torch.cat([self._projected(head, matrix) + shift, matrix], dim=1)

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        shift, matrix = relation[:, : self.rank], relation[:, self.rank :]
        return torch.cat([self._projected(tail, matrix) - shift, matrix], dim=1)

    def _projected(self, entity: Tensor, matrix: Tensor) -> Tensor:
        return torch.bmm(entity.unsqueeze(1), matrix.view(len(matrix), -1, self.rank)).squeeze(1)

    def compare(self, query: Tensor, candidates: Tensor) -> Tensor:
        """As ``Decoder.compare``; shared candidates are projected once per distinct matrix."""
        place, matrix = query[:, : self.rank], query[:, self.rank :]
        if candidates.dim() == 3:
            projected = torch.bmm(candidates, matrix.view(len(matrix), -1, self.rank))
            return -scores.negative_distance(place, projected, p=2.0).square()
        _, group = torch.unique(matrix.detach(), dim=0, return_inverse=True)
        order = torch.argsort(group, stable=True)
        parts = []
        for rows in order.split(torch.bincount(group).tolist()):
            own = matrix[rows[0]].view(-1, self.rank)  # every row of the group has this one
            projected = candidates @ own
            parts.append(-scores.negative_distance(place[rows], projected, p=2.0).square())
        found = torch.cat(parts) if parts else place.new_empty(0, len(candidates))
        return found[torch.argsort(order)]

    def extra_repr(self) -> str:
        return f"rank={self.rank}"

    @torch.no_grad()
    def initialise(self, entity: Tensor | None, relation: Tensor | None) -> None:
        """Xavier normal; each M_r takes the first numbers of an entity vector, as in the paper."""
        super().initialise(entity, relation)
        if relation is not None:
            width = relation.shape[1] // self.rank - 1
            relation[:, self.rank :] = torch.eye(width, self.rank).flatten().to(relation)


class TuckER(Decoder):
    """W x_1 h x_2 r x_3 t with a core W [D, D_r, D], batch norms and dropout as in the paper.

    Args:
        width: D, of entity vectors.
        relation_width: D_r; default D.
        dropout: Shares of numbers dropped from the entity, the relation's matrix and the query,
            each in [0, 1).

    Raises:
        ValueError: If a share is out of range.

    Source: Balazevic et al. 2019, arXiv 1901.09590. Heads are asked by inverse relations.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> decoder = kgt.TuckER(4)
        >>> decoder.tail_query(torch.ones(2, 4), torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    needs_reciprocal = True

    def __init__(
        self,
        width: int,
        *,
        relation_width: int | None = None,
        dropout: tuple[float, float, float] = (0.2, 0.2, 0.3),
    ) -> None:
        super().__init__()
        self.width, self._relation_width = width, relation_width or width
        self.core = nn.Parameter(torch.empty(width, self._relation_width, width))
        self.drop_entity, self.drop_matrix, self.drop_query = _dropouts("TuckER", dropout)
        self.norm_entity, self.norm_query = _Norm(width), _Norm(width)
        nn.init.uniform_(self.core, -1.0, 1.0)

    def relation_width(self, entity_width: int) -> int:
        return self._relation_width

    def check_width(self, entity_width: int) -> None:
        _check_width("TuckER", self.width, entity_width)

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        entity = self.drop_entity(self.norm_entity(head))
        matrix = (relation @ self.core.transpose(0, 1).flatten(1)).view(-1, self.width, self.width)
        query = torch.bmm(entity.unsqueeze(1), self.drop_matrix(matrix)).squeeze(1)
        normed: Tensor = self.drop_query(self.norm_query(query))
        return normed

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        raise _no_head_query("TuckER")

    def compare(self, query: Tensor, candidates: Tensor) -> Tensor:
        return scores.dot(query, candidates)


class ConvE(Decoder):
    """relu(vec(relu([h; r] * filters)) W) . t: a convolution over head and relation as images.

    Args:
        width: D, of entity and relation vectors; an image has the largest number of rows that
            divides D and is at most its square root.
        channels: Filters, of 3 x 3, at least 1.
        dropout: Shares of numbers dropped from images, feature maps and the query, each in [0, 1).

    Raises:
        ValueError: If a number is out of range, or D is no product of a number of at least 2 and
            one of at least 3.

    Source: Dettmers et al. 2018, arXiv 1707.01476, section 3 and eq. 1, without the entities'
    biases, so that any vector can be scored. Heads are asked by inverse relations.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> decoder = kgt.ConvE(20)
        >>> decoder.rows, decoder.tail_query(torch.ones(2, 20), torch.ones(2, 20)).shape
        (4, torch.Size([2, 20]))
    """

    needs_reciprocal = True

    def __init__(
        self,
        width: int,
        *,
        channels: int = 32,
        dropout: tuple[float, float, float] = (0.2, 0.2, 0.3),
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"ConvE needs at least 1 channel (got {channels})")
        self.width = width
        self.rows = max(rows for rows in range(1, math.isqrt(width) + 1) if width % rows == 0)
        columns = width // self.rows
        if self.rows < 2 or columns < 3:
            raise ValueError(
                "ConvE makes images of its vectors, so the width must be a product of a number of "
                f"at least 2 and one of at least 3 (got {width})"
            )
        self.norm_image, self.norm_maps = nn.BatchNorm2d(1), nn.BatchNorm2d(channels)
        self.norm_query = _Norm(width)
        self.drop_image, _, self.drop_query = _dropouts("ConvE", dropout)
        self.drop_maps = nn.Dropout2d(dropout[1])
        self.convolution = nn.Conv2d(1, channels, 3)
        self.project = nn.Linear(channels * (2 * self.rows - 2) * (columns - 2), width)

    def check_width(self, entity_width: int) -> None:
        _check_width("ConvE", self.width, entity_width)

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        images = [vector.view(len(vector), 1, self.rows, -1) for vector in (head, relation)]
        image = self.drop_image(self.norm_image(torch.cat(images, dim=2)))
        maps = F.relu(self.norm_maps(self.convolution(image)))
        query = self.drop_query(self.project(self.drop_maps(maps).flatten(1)))
        return F.relu(self.norm_query(query))

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        raise _no_head_query("ConvE")

    def compare(self, query: Tensor, candidates: Tensor) -> Tensor:
        return scores.dot(query, candidates)


class _Norm(nn.BatchNorm1d):
    """A batch norm that takes a batch of one, which has no deviation, by the running averages."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) < 2:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


def _dropouts(name: str, shares: tuple[float, float, float]) -> list[nn.Dropout]:
    for share in shares:
        if not 0 <= share < 1:
            raise ValueError(f"{name} drops shares in [0, 1) (got {share})")
    return [nn.Dropout(share) for share in shares]


def _check_width(name: str, width: int, entity_width: int) -> None:
    if entity_width != width:
        raise ValueError(f"{name} was made for vectors of width {width} (got {entity_width})")


def _no_head_query(name: str) -> ValueError:
    return ValueError(f"{name} has no query for heads; make the model with reciprocal=True")
