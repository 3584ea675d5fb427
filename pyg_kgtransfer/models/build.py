"""From a configuration to a model: the tables of encoders and decoders, by name."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from pyg_kgtransfer.models.compgcn import OPERATORS, CompGCN
from pyg_kgtransfer.models.decoders import ComplEx, Decoder, DistMult, RotatE, TransE
from pyg_kgtransfer.models.encoder import Encoder, LayerOptions
from pyg_kgtransfer.models.foundation import FoundationModel
from pyg_kgtransfer.models.inputs import EntityInput, Features, Lookup, Shallow, TextMixture
from pyg_kgtransfer.models.kg_model import GraphModel, KGModel
from pyg_kgtransfer.models.matrix_decoders import ConvE, TransR, TuckER
from pyg_kgtransfer.models.phase_decoders import HAKE, PRotatE
from pyg_kgtransfer.models.rgcn import RGCN

FOUNDATION = "foundation"  # in the place of encoder and decoder
INPUTS = ("lookup", "features", "mixture")
TABLES: Mapping[str, torch.dtype | None] = MappingProxyType(
    {"float32": None, "bfloat16": torch.bfloat16}  # None: torch's default
)
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"tanh": torch.tanh, "relu": torch.relu, "identity": nn.Identity()}
)
DECODERS: Mapping[str, Callable[[int], Decoder]] = MappingProxyType(
    {  # from the width D of entity vectors
        "transe_l1": lambda width: TransE(p=1),
        "transe_l2": lambda width: TransE(p=2),
        "transr": lambda width: TransR(rank=min(width, 32)),
        "distmult": lambda width: DistMult(),
        "complex": lambda width: ComplEx(),
        "rotate": lambda width: RotatE(),
        "protate": lambda width: PRotatE(modulus=4.0 / width),
        "hake": lambda width: HAKE(),
        "tucker": TuckER,
        "conve": ConvE,
    }
)


@dataclass(frozen=True)
class ModelConfig:
    """What ``build_model`` makes; every field is plain, so that it can be saved as JSON.

    Attributes:
        encoder: "shallow", "rgcn" or "compgcn"; or "foundation": a model of any graph, of which
            only ``width`` and ``layers`` count (64 and 6 in ULTRA).
        decoder: "transe_l1", "transe_l2", "transr", "distmult", "complex", "rotate", "protate",
            "hake", "tucker" or "conve"; the last two need ``reciprocal``.
        width: Width D of entity vectors, at least 1; even for complex, rotate and hake, a product
            of a number of at least 2 and one of at least 3 for conve.
        layers: Message-passing layers, at least 1; a shallow encoder has none whatever it says.
        dropout: In [0, 1), after each layer; on the entity vectors of a shallow encoder.
        operator: "sub", "mult" or "corr": how CompGCN composes entity and relation.
        bases: R-GCN only: share matrices between so many bases.
        blocks: R-GCN only: block-diagonal matrices of so many blocks, which divide ``width``.
        residual: Each layer adds to its input.
        jump: The last layer adds to the encoder's input.
        activation: "tanh", "relu" or "identity", after each layer.
        normalise: Layer norm before each activation.
        inputs: "lookup" (free vectors), "features" (projected features) or "mixture" (free vectors
            mixed with text vectors of width D); the latter two are given to ``build_model``.
        share: Share of the free vectors in a mixture, in [0, 1].
        adapter: Hidden units of a trained map on a mixture's text vectors; 0: none.
        reciprocal: Answer (?, r, t) with the inverse relation's own vector.
        masking: Share of the free vectors that are left out (zero) in a training step, in [0, 1),
            so that an encoder with layers learns to encode entities that it has not met; inputs
            ``"lookup"`` alone.
        sparse: Update those rows of the entity table alone that a step names: for large tables,
            with inputs ``"lookup"``, Adagrad (by rows or not) or SGD, and an encoder that is
            ``"shallow"`` or is trained on drawn neighbours (``TrainConfig.fan_out``).
        table: ``"float32"``, or ``"bfloat16"``: half the memory for the entity table; needs
            ``sparse`` and the optimizer ``"rowwise_adagrad"``.
        recompute: Compute what layers hold again in the backward pass: less memory, more time.

    Raises:
        ValueError: If a name is unknown (the nearest one is offered) or a number out of range.

    Example:
        >>> config = ModelConfig(encoder="shallow", decoder="distmult", width=8)
        >>> ModelConfig.from_dict(config.to_dict()) == config
        True
    """

    encoder: str = "compgcn"
    decoder: str = "complex"
    width: int = 128
    layers: int = 1
    dropout: float = 0.0
    operator: str = "sub"
    bases: int | None = None
    blocks: int | None = None
    residual: bool = True
    jump: bool = False
    activation: str = "tanh"
    normalise: bool = True
    inputs: str = "lookup"
    share: float = 0.6
    adapter: int = 0
    reciprocal: bool = True
    sparse: bool = False
    recompute: bool = False
    masking: float = 0.0
    table: str = "float32"

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("encoder", self.encoder, (*ENCODERS, FOUNDATION)),
            ("decoder", self.decoder, DECODERS),
            ("operator", self.operator, OPERATORS),
            ("activation", self.activation, ACTIVATIONS),
            ("inputs", self.inputs, INPUTS),
            ("table", self.table, TABLES),
        ):
            _check_name(kind, name, known)
        for name in ("width", "layers", "bases", "blocks"):
            number = getattr(self, name)
            if number is None and name in ("bases", "blocks"):
                continue
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"{name} must be a whole number of at least 1 (got {number!r})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) (got {self.dropout})")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be in [0, 1] (got {self.share})")
        if not 0 <= self.masking < 1:
            raise ValueError(f"masking must be in [0, 1) (got {self.masking})")
        if self.masking and (self.encoder not in ("rgcn", "compgcn") or self.inputs != "lookup"):
            raise ValueError(
                "masking needs an encoder with layers and inputs 'lookup' "
                f"(got {self.encoder!r} and {self.inputs!r})"
            )
        if self.adapter < 0 or (self.adapter and self.inputs != "mixture"):
            raise ValueError(
                f"an adapter has at least 0 hidden units, and needs inputs 'mixture' "
                f"(got {self.adapter} and {self.inputs!r})"
            )
        if self.encoder != "rgcn" and (self.bases or self.blocks):
            raise ValueError(f"bases and blocks are for encoder 'rgcn' (got {self.encoder!r})")
        if self.bases and self.blocks:
            raise ValueError(
                f"give bases or blocks, not both (got {self.bases} bases, {self.blocks} blocks)"
            )
        if self.blocks and self.width % self.blocks:
            raise ValueError(f"blocks must divide the width {self.width} (got {self.blocks})")
        if self.sparse and (self.encoder == FOUNDATION or self.inputs != "lookup"):
            raise ValueError(
                "sparse rows need an encoder with a table of entities, and inputs 'lookup' "
                f"(got {self.encoder!r} and {self.inputs!r})"
            )
        if self.table != "float32" and not self.sparse:
            raise ValueError(f"a table in {self.table} needs sparse rows (got sparse=False)")
        if self.sparse and self.dropout and self.encoder == "shallow":
            raise ValueError(f"sparse rows need dropout 0 (got {self.dropout})")
        with torch.device("meta"):  # its tables are not made
            decoder = DECODERS[self.decoder](self.width)
        decoder.check_width(self.width)
        if decoder.needs_reciprocal and not self.reciprocal:
            raise ValueError(
                f"decoder {self.decoder!r} has no query for heads and needs reciprocal (got False)"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """The configuration with these fields; fields left out keep their defaults.

        Raises:
            ValueError: If a field is unknown (the nearest one is offered) or a value is refused.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            _check_name("model option", name, known)
        return cls(**values)


def build_model(
    config: ModelConfig,
    *,
    num_entities: int,
    num_relations: int,
    features: Tensor | None = None,
) -> GraphModel:
    """A freshly initialised model; seed torch before for a repeatable one.

    Args:
        config: What to build.
        num_entities: N, all entities of the graph.
        num_relations: R, real relations.
        features: [N, F] features, or [N, D] text vectors, where ``config.inputs`` wants them.

    Raises:
        ValueError: If features are missing, unwanted or of the wrong shape.

    Example:
        >>> config = ModelConfig(encoder="rgcn", width=8, bases=2)
        >>> build_model(config, num_entities=5, num_relations=2).encoder.num_layers
        1
    """
    if config.encoder == FOUNDATION:
        if features is not None:
            raise ValueError("a foundation model reads no features (got some)")
        return FoundationModel(config.width, config.layers)
    decoder = DECODERS[config.decoder](config.width)
    inputs = _inputs(config, num_entities, features)
    encoder = ENCODERS[config.encoder](config, inputs, num_relations, decoder)
    return KGModel(encoder, decoder, reciprocal=config.reciprocal)


def _inputs(config: ModelConfig, num_entities: int, features: Tensor | None) -> EntityInput:
    if config.inputs == "lookup":
        if features is not None:
            raise ValueError(
                "features were given, but the model's inputs are 'lookup'; "
                "set inputs to 'features' or 'mixture'"
            )
        return Lookup(
            num_entities,
            config.width,
            sparse=config.sparse,
            masking=config.masking,
            dtype=TABLES[config.table],
        )
    if features is None:
        raise ValueError(f"inputs {config.inputs!r} need features, one row per entity (got none)")
    if len(features) != num_entities:
        raise ValueError(
            f"features need one row for each of {num_entities} entities (got {len(features)})"
        )
    if config.inputs == "features":
        return Features(features, config.width)
    if features.dim() == 2 and features.shape[1] != config.width:
        raise ValueError(
            f"text vectors in a mixture need the model's width {config.width} "
            f"(got {features.shape[1]})"
        )
    return TextMixture(features, share=config.share, adapter=config.adapter)


def _layer_options(config: ModelConfig) -> LayerOptions:
    return LayerOptions(
        num_layers=config.layers,
        dropout=config.dropout,
        activation=ACTIVATIONS[config.activation],
        normalise=config.normalise,
        residual=config.residual,
        jump=config.jump,
        recompute=config.recompute,
    )


def _shallow(
    config: ModelConfig, inputs: EntityInput, num_relations: int, decoder: Decoder
) -> Encoder:
    encoder = Shallow(
        inputs,
        2 * num_relations if config.reciprocal else num_relations,
        relation_width=decoder.relation_width(config.width),
        dropout=config.dropout,
    )
    encoder.initialise(decoder)
    return encoder


def _rgcn(
    config: ModelConfig, inputs: EntityInput, num_relations: int, decoder: Decoder
) -> Encoder:
    encoder = RGCN(
        inputs,
        num_relations,
        relation_width=decoder.relation_width(config.width),
        num_bases=config.bases,
        num_blocks=config.blocks,
        options=_layer_options(config),
    )
    encoder.initialise(decoder)
    return encoder


def _compgcn(
    config: ModelConfig, inputs: EntityInput, num_relations: int, decoder: Decoder
) -> Encoder:
    encoder = CompGCN(
        inputs,
        num_relations,
        relation_width=decoder.relation_width(config.width),
        op=config.operator,
        options=_layer_options(config),
    )
    encoder.initialise(decoder)
    return encoder


ENCODERS: Mapping[str, Callable[[ModelConfig, EntityInput, int, Decoder], Encoder]] = (
    MappingProxyType({"shallow": _shallow, "rgcn": _rgcn, "compgcn": _compgcn})
)


def _check_name(kind: str, name: str, known: Iterable[str]) -> None:
    offered = list(known)
    if name not in offered:
        given = str(name).lower()
        longer = [other for other in offered if given and other.startswith(given)]
        nearest = longer or difflib.get_close_matches(given, offered, n=1, cutoff=0.0)
        raise ValueError(
            f"unknown {kind}: {name!r}; nearest known: {nearest[0]!r} "
            f"(of {', '.join(map(repr, offered))})"
        )
