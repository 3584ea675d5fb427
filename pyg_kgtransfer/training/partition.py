"""How entities are kept apart on disk, and what can be trained so."""

from dataclasses import dataclass

from pyg_kgtransfer.models.inputs import Lookup, Shallow
from pyg_kgtransfer.models.kg_model import KGModel
from pyg_kgtransfer.training.config import ROWWISE, TrainConfig


@dataclass(frozen=True)
class Partition:
    """How entities are kept apart.

    Attributes:
        num_buckets: P, at least 1; two of them are in memory at a time, with their facts.
        save_every: Pairs of buckets between two resume checkpoints, at least 1.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> Partition(num_buckets=16).num_buckets
        16
    """

    num_buckets: int = 8
    save_every: int = 8

    def __post_init__(self) -> None:
        if self.num_buckets < 1 or self.save_every < 1:
            raise ValueError(
                "num_buckets and save_every must be at least 1 "
                f"(got {self.num_buckets} and {self.save_every})"
            )


def check_fit(model: KGModel, config: TrainConfig) -> None:
    """Refuse what a table in buckets cannot be trained with, or would pass over in silence.

    Raises:
        ValueError: Says what.
    """
    encoder = model.encoder
    inputs = encoder.inputs if isinstance(encoder, Shallow) else None
    if not isinstance(inputs, Lookup) or not inputs.sparse:
        raise ValueError(
            "a partitioned table needs a shallow encoder with sparse rows "
            f"(got {type(encoder).__name__})"
        )
    if config.optimizer != ROWWISE:
        raise ValueError(
            f"a partitioned table needs optimizer {ROWWISE!r}, whose state is kept with its rows "
            f"(got {config.optimizer!r})"
        )
    if config.patience is not None or config.leave_out_batch or config.precision != "32-true":
        raise ValueError(
            "a partitioned table is trained without validation, on whole batches, in precision "
            f"'32-true' (got patience={config.patience}, "
            f"leave_out_batch={config.leave_out_batch}, precision={config.precision!r})"
        )
    if config.tensorboard or config.save_every != 1 or config.validate_every != 1:
        raise ValueError(
            "a partitioned table has no curves and no validation, and is saved after "
            "Partition.save_every pairs of buckets or TrainConfig.save_seconds: leave tensorboard, "
            f"validate_every and save_every of TrainConfig as they are (got {config.tensorboard}, "
            f"{config.validate_every} and {config.save_every})"
        )
