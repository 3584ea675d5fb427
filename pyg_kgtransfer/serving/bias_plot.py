"""A picture of whom a model favours."""

from pathlib import Path
from typing import Any

from pyg_kgtransfer.evaluation.bias import TOP, BiasResult
from pyg_kgtransfer.sources.whole_file import whole_file

LARGEST_PICTURE = 30  # groups side by side
CROWDED = 8  # from more on, their names are turned
_BARS = {
    "share_of_answers": ("true answers", "tab:gray"),
    "share_of_mass": ("mass of scores", "tab:blue"),
    "share_of_top10": (f"places among the first {TOP}", "tab:orange"),
}


def plot_bias(result: BiasResult, path: Path) -> None:
    """Draw the share of true answers beside those of mass and of places, group by group (PNG).

    One panel is of popularity bands, and one of groups where there are some; of many groups those
    with the most answers are drawn.

    Args:
        result: From ``measure_bias``.
        path: The picture; it is whole or not there.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:
        >>> import tempfile
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(30)]
        >>> split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="numbers"))
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> checkpoint = kgt.pretrain(kgt.link([split.train], []), recipe=recipe)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "bias.png"
        ...     kgt.plot_bias(kgt.measure_bias(checkpoint, split), path)
        ...     path.read_bytes()[1:4]
        b'PNG'
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a picture needs `pip install pyg-kgtransfer[plot]`") from error
    panels = [_largest(result.rows(by)) for by in result.available_groups() if by != "relation"]
    width = 3 + 1.1 * max(map(len, panels))
    figure = Figure(figsize=(width, 0.5 + 4 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, rows in enumerate(panels, start=1):
        _draw(figure.add_subplot(len(panels), 1, place), rows, len(result.candidates))
    bias = result.popularity_bias()
    figure.suptitle(
        f"popularity bias {bias.value:+.3f} [{bias.low:+.3f}, {bias.high:+.3f}]", fontsize=10
    )
    with whole_file(path) as part:
        figure.savefig(part, dpi=130, format="png")


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, or those with the most answers."""
    if len(rows) <= LARGEST_PICTURE:
        return rows
    return sorted(rows, key=lambda row: -row["answers"])[:LARGEST_PICTURE]


def _draw(axes: Any, rows: list[dict[str, Any]], num_candidates: int) -> None:
    """Bars of each row side by side."""
    width = 0.8 / len(_BARS)
    for place, (share, (label, color)) in enumerate(_BARS.items()):
        left = [i + (place - 1) * width for i in range(len(rows))]
        axes.bar(left, [row[share] for row in rows], width, label=label, color=color)
    names = [f"{row['group']}\n{row['candidates']:,} of {num_candidates:,}" for row in rows]
    axes.set_xticks(range(len(rows)), names, fontsize=8)
    if len(rows) > CROWDED:
        axes.tick_params(axis="x", rotation=60)
    axes.set_ylabel("share of all queries")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
