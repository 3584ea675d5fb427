"""What enters an encoder: lookup table, projected features, text mixture; the shallow encoder."""

import weakref
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.decoders import Decoder
from pyg_kgtransfer.models.encoder import Encoder, Representations

_ADAPTER_DROPOUT = 0.2
_LEAST_SIZE = 1e-6  # of text vectors, where they are divided by it


class EntityInput(nn.Module, ABC):
    """Vectors for entity ids; pass the object to an encoder.

    Attributes:
        width: D, the width of the vectors.
        entity_rows: Names of the parameters and buffers that hold one row per entity; a growing
            vocabulary moves their rows.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> class Place(kgt.EntityInput):
        ...     entity_rows = ("degrees",)
        ...     def __init__(self, degrees):
        ...         super().__init__()
        ...         self.width = degrees.shape[1]
        ...         self.register_buffer("degrees", degrees)
        ...     def forward(self, entity):
        ...         return self.degrees[entity]
        ...     def initialise(self, decoder):
        ...         pass  # nothing to draw
        >>> inputs = Place(torch.tensor([[38.0, 23.5], [42.0, 12.5]]))  # Athens, Rome
        >>> inputs(torch.tensor([1])).tolist(), kgt.Shallow(inputs, 1).width
        ([[42.0, 12.5]], 2)
    """

    width: int
    entity_rows: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, entity: Tensor) -> Tensor:
        """Vectors of entities: [N] global ids -> [N, D]."""

    @abstractmethod
    def initialise(self, decoder: Decoder) -> None:
        """Draw fresh vectors of the size that ``decoder`` starts from."""


class Lookup(EntityInput):
    """One free vector per entity.

    Args:
        num_entities: Rows of the table.
        width: D.
        sparse: Give the table a gradient of the rows that a step names; for tables so large that a
            step over all rows takes longer than the batch. The optimizer must be one that leaves
            other rows alone (Adagrad, by rows or not, SGD).
        masking: Share of the vectors that are zero in a training step, drawn anew each time, in
            [0, 1): an encoder with layers then learns to make do with what neighbours say, as it
            must for an entity that training has not met.
        dtype: Of the table: float32, float64, or bfloat16 for half the memory; vectors of it are
            computed with as the relations' numbers are. bfloat16 needs ``sparse``, and the
            optimizer ``rowwise_adagrad``.

    Attributes:
        weight: [num_entities, D], Xavier normal at first.
        is_rounded: Whether the table was asked for in bfloat16.

    Raises:
        ValueError: If ``masking`` is out of range, or goes with ``sparse``; or the table is in
            bfloat16 without ``sparse``.

    Example:
        >>> Lookup(5, 8)(torch.tensor([3, 1])).shape
        torch.Size([2, 8])
    """

    entity_rows = ("weight",)

    def __init__(
        self,
        num_entities: int,
        width: int,
        *,
        sparse: bool = False,
        masking: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= masking < 1 or (masking and sparse):
            raise ValueError(
                f"masking must be in [0, 1), and 0 with sparse rows (got {masking} and {sparse})"
            )
        if dtype == torch.bfloat16 and not sparse:
            raise ValueError("a table in bfloat16 needs sparse rows (got sparse=False)")
        self.width = width
        self.sparse = sparse
        self.masking = masking
        self.is_rounded = dtype == torch.bfloat16  # whatever training makes of other tables
        self.is_whole = _WholeTable()
        self.weight = nn.Parameter(torch.empty(num_entities, width, dtype=dtype))
        nn.init.xavier_normal_(self.weight)

    def forward(self, entity: Tensor) -> Tensor:
        if self.masking and self.training:
            vectors = functional.embedding(entity, self.weight)
            kept = torch.rand(len(entity), 1, device=entity.device) >= self.masking
            return vectors * kept
        is_direct = self.sparse or entity.device.type == "cpu"
        if not (is_direct and self.is_whole(entity, len(self.weight))):
            return functional.embedding(entity, self.weight, sparse=self.sparse)
        return self.weight if torch.is_grad_enabled() else self.weight.detach()

    def initialise(self, decoder: Decoder) -> None:
        decoder.initialise(self.weight, None)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.width}"


class _WholeTable:
    """Tells whether ids are all rows of a table in order, whose vectors need no copy.

    The tensor that was last found to be so is remembered as long as it lives unchanged. Copies and
    pickles remember nothing.
    """

    def __init__(self) -> None:
        self._found: tuple[weakref.ref[Tensor], int, int] | None = None

    def __reduce__(self) -> tuple[type["_WholeTable"], tuple[()]]:
        return _WholeTable, ()

    @torch.compiler.disable
    def __call__(self, ids: Tensor, size: int) -> bool:
        """Whether ``ids`` are 0 to size - 1."""
        if self._found is not None:
            kept, version, length = self._found
            if kept() is ids and version == ids._version and length == size:
                return True
        is_whole = len(ids) == size and torch.equal(ids, torch.arange(size, device=ids.device))
        if is_whole and not ids.is_inference():
            self._found = weakref.ref(ids), ids._version, size
        return is_whole


class Features(EntityInput):
    """Given features through a trained linear map.

    Args:
        features: [num_entities, F] floats, kept as a buffer.
        width: D.

    Raises:
        ValueError: If the features are not a floating [N, F] table of finite numbers.

    Example:
        >>> Features(torch.eye(5), 8)(torch.tensor([3, 1])).shape
        torch.Size([2, 8])
    """

    features: Tensor
    entity_rows = ("features",)

    def __init__(self, features: Tensor, width: int) -> None:
        super().__init__()
        _check_table(features, "features")
        self.width = width
        self.register_buffer("features", features.detach().clone())
        self.projection = nn.Linear(features.shape[1], width)

    def forward(self, entity: Tensor) -> Tensor:
        projected: Tensor = self.projection(functional.embedding(entity, self.features))
        return projected

    @torch.no_grad()
    def initialise(self, decoder: Decoder) -> None:
        """Scale the map so that its vectors are as large as those ``decoder`` starts from."""
        nn.init.xavier_normal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        wanted = torch.empty(len(self.features), self.width)
        decoder.initialise(wanted, None)
        got = _root_mean_square(self.features @ self.projection.weight.t())
        if got > 0:
            self.projection.weight *= _root_mean_square(wanted).to(got) / got


class TextMixture(EntityInput):
    """rho e'_i + (1 - rho) v'_i: a free vector mixed with a frozen text vector.

    With an adapter the text part is v' + s f(v' / s): f is a trained map with a hidden layer that
    gives 0 at first, s the size of the text vectors. Training starts from the paper's mixture then,
    and what a text says can be turned to where the decoder needs it.

    Args:
        text: [num_entities, D] text vectors, frozen, kept as a buffer.
        share: rho, the share of the free vector, in [0, 1].
        adapter: Hidden units of f, of whose numbers training drops a fifth; 0: no adapter.
        match_scale: Let ``initialise`` bring the text vectors to the free vectors' size, so that
            neither part drowns the other (differs from the paper's code, which mixes as given).

    Attributes:
        weight: [num_entities, D] the free vectors e'.
        text: [num_entities, D] the text vectors v', as given (an anchor reads them).
        adapter: f, or ``None``.

    Raises:
        ValueError: If the text is not a floating [N, D] table of finite numbers, or a number is out
            of range.

    Source: Jiang et al. 2024, "KG-FIT", arXiv 2405.16412; rho = 0.6 in the released code. The
    adapter is ours.

    Example:
        >>> TextMixture(torch.eye(4), share=0.0)(torch.tensor([2])).tolist()
        [[0.0, 0.0, 1.0, 0.0]]
    """

    text: Tensor
    text_scale: Tensor
    text_size: Tensor
    entity_rows = ("weight", "text")

    def __init__(
        self, text: Tensor, *, share: float = 0.6, match_scale: bool = False, adapter: int = 0
    ) -> None:
        super().__init__()
        _check_table(text, "text vectors")
        if not 0 <= share <= 1:
            raise ValueError(f"the share of the free vector must be in [0, 1] (got {share})")
        if adapter < 0:
            raise ValueError(f"an adapter has at least 0 hidden units (got {adapter})")
        self.width = text.shape[1]
        self.share = share
        self.match_scale = match_scale
        self.weight = nn.Parameter(torch.empty_like(text))
        nn.init.xavier_normal_(self.weight)
        self.register_buffer("text", text.detach().clone())
        self.register_buffer("text_scale", torch.ones((), dtype=text.dtype))
        self.adapter: nn.Sequential | None = None
        if adapter:
            self.adapter = nn.Sequential(
                nn.Linear(self.width, adapter),
                nn.ReLU(),
                nn.Dropout(_ADAPTER_DROPOUT),
                nn.Linear(adapter, self.width),
            ).to(text.dtype)
            self.register_buffer("text_size", _root_mean_square(text).clamp(min=_LEAST_SIZE))
            self._start_adapter()

    def forward(self, entity: Tensor) -> Tensor:
        free = functional.embedding(entity, self.weight)
        said = functional.embedding(entity, self.text)
        if self.adapter is not None:
            said = said + self.text_size * self.adapter(said / self.text_size)
        return self.share * free + (1 - self.share) * self.text_scale * said

    @torch.no_grad()
    def initialise(self, decoder: Decoder) -> None:
        decoder.initialise(self.weight, None)
        self._start_adapter()
        size = _root_mean_square(self.text)
        if self.match_scale and size > 0:
            self.text_scale.copy_(_root_mean_square(self.weight) / size)

    @torch.no_grad()
    def begin_at_text(self, share: float) -> None:
        """Move the free vectors so far towards the text vectors; where a text is zero, nothing.

        Args:
            share: In [0, 1]; 1: there.
        """
        said = self.text.any(1)
        self.weight[said] = torch.lerp(self.weight[said], self.text_scale * self.text[said], share)

    @torch.no_grad()
    def _start_adapter(self) -> None:
        """Let the adapter give 0."""
        if self.adapter is not None:
            for layer in self.adapter:
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()
            for table in self.adapter[-1].parameters():
                table.zero_()

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.width}, share={self.share}"


class Shallow(Encoder):
    """No message passing: entity vectors as they enter, and one vector per relation.

    Args:
        inputs: Gives the entity vectors.
        num_relation_rows: R, or 2R for a reciprocal model.
        relation_width: D', what the decoder asks for; default D.
        dropout: Share of the entity vectors' numbers dropped in training, in [0, 1).

    Raises:
        ValueError: If ``dropout`` is out of range.

    Example:
        >>> encoder = Shallow(Lookup(5, 8), 2)
        >>> encoder.relation.shape, encoder.num_layers
        (torch.Size([2, 8]), 0)
    """

    num_layers = 0
    relation_rows = ("relation",)

    def __init__(
        self,
        inputs: EntityInput,
        num_relation_rows: int,
        *,
        relation_width: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) (got {dropout})")
        self.inputs = inputs
        self.width = inputs.width
        self.dropout = nn.Dropout(dropout)
        self.relation = nn.Parameter(torch.empty(num_relation_rows, relation_width or self.width))
        nn.init.xavier_normal_(self.relation)

    def forward(self, graph: GraphTensors) -> Representations:
        entity = self.dropout(self.inputs(graph.entity))
        return Representations(entity, self.relation, sparse=_names_rows(self.inputs, entity))

    def initialise(self, decoder: Decoder) -> None:
        """Draw fresh tables as ``decoder`` wants them."""
        self.inputs.initialise(decoder)
        decoder.initialise(None, self.relation)


def _names_rows(inputs: EntityInput, entity: Tensor) -> bool:
    """Whether gathering from these vectors should give their parameter a sparse gradient."""
    return isinstance(inputs, Lookup) and inputs.sparse and entity is inputs.weight


def _check_table(table: Tensor, name: str) -> None:
    if table.dim() != 2 or not table.is_floating_point():
        raise ValueError(
            f"{name} must be floats, one row per entity (got {table.dtype} {list(table.shape)})"
        )
    if not bool(torch.isfinite(table).all()):
        row = int((~torch.isfinite(table)).any(1).nonzero()[0])
        raise ValueError(f"{name} must be finite (got NaN or inf in row {row})")


def _root_mean_square(table: Tensor) -> Tensor:
    return table.square().mean().sqrt() if table.numel() else table.new_zeros(())
