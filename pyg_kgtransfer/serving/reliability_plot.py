"""Reliability diagrams: how often triples of each probability are true."""

from collections.abc import Mapping, Sequence
from pathlib import Path

Bins = Sequence[Mapping[str, float]]


def plot_reliability(curves: Mapping[str, Bins], path: Path | str, *, title: str = "") -> None:
    """Draw probabilities against frequencies, and below them how many triples are at each point.

    On the dashed diagonal a probability says how often such triples are true; below it, it says too
    much. The legend has the expected calibration error.

    Args:
        curves: Name -> bins, as ``calibrate`` gives them: ``probability`` (mean), ``true`` (share)
            and ``count`` of each.
        path: The picture (PNG); it is whole or not there.
        title: Above it.

    Raises:
        ValueError: If there is no curve, or one has no bins: calibration without test facts.
        ImportError: If matplotlib is not installed.
        OSError: If the picture cannot be written.

    Source: Guo et al. 2017, arXiv 1706.04599, figure 1.

    Example:
        >>> import tempfile
        >>> bins = [{"probability": 0.2, "true": 0.1, "count": 9}]  # or calibrate(...).reliability
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_reliability({"Platt": bins}, f"{folder}/reliability.png")
        ...     Path(folder, "reliability.png").read_bytes()[1:4]
        b'PNG'
    """
    empty = [name for name, bins in curves.items() if not bins]
    if empty or not curves:
        raise ValueError(
            f"a reliability diagram needs bins of test facts (got none of {', '.join(empty)})"
            if empty
            else "a reliability diagram needs a curve (got none)"
        )
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a picture needs `pip install pyg-kgtransfer[plot]`") from error
    from pyg_kgtransfer.sources.whole_file import whole_file

    figure = Figure(figsize=(5.5, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    width = 0.08 / len(curves)
    for number, (name, bins) in enumerate(curves.items()):
        at = [each["probability"] for each in bins]
        label = f"{name}, ECE {calibration_error(bins):.3f}"
        above.plot(at, [each["true"] for each in bins], marker="o", markersize=4, label=label)
        shift = (number - (len(curves) - 1) / 2) * width
        counts = [each["count"] for each in bins]
        below.bar([place + shift for place in at], counts, width=width)
    above.set(ylabel="share that is true", ylim=(-0.02, 1.02), title=title)
    above.legend(loc="upper left")
    below.set(xlabel="mean probability of the bin", ylabel="triples, log scale", xlim=(-0.06, 1.06))
    below.set_yscale("log")
    below.set_ylim(bottom=0.8)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    with whole_file(Path(path)) as part:
        figure.savefig(part, dpi=130, format="png")


def calibration_error(bins: Bins) -> float:
    """The expected calibration error that bins show: in [0, 1], lower is better.

    Example:
        >>> calibration_error([{"probability": 0.75, "true": 0.5, "count": 4}])
        0.25
    """
    total = sum(each["count"] for each in bins)
    gaps = (each["count"] * abs(each["probability"] - each["true"]) for each in bins)
    return sum(gaps) / total
