from io import StringIO

from rich.console import Console

from pyg_kgtransfer.training.progress import LiveBar, PlainLines, Silence, display


def row(epoch: int) -> dict[str, object]:
    return {"epoch": epoch, "step": 4 * epoch, "loss": 0.5, "triples_per_second": 12345.6}


def test_plain_lines_are_few_and_without_control_codes() -> None:
    stream = StringIO()
    lines = PlainLines(Console(file=stream), 100)
    with lines:
        for epoch in range(1, 101):
            lines.step(4 * epoch, epoch=epoch, loss=0.5, triples_per_second=1.0)
            lines.epoch(row(epoch), "best mrr 0.2500  ", 75.0)
        lines.say("stopped [because]")
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    shown = text.splitlines()
    assert 10 <= len(shown) <= 12
    assert shown[0].startswith("epoch 1/100  loss 0.5000  best mrr 0.2500  12,346 triples/s  1:15")
    assert shown[-2].startswith("epoch 100/100")
    assert shown[-1] == "stopped [because]"


def test_the_bar_shows_rate_loss_best_and_time_left() -> None:
    stream = StringIO()
    bar = LiveBar(Console(file=stream, force_terminal=True, width=120), 10, steps=40, done=8)
    with bar:
        bar.epoch(row(5), "best mrr 0.2500  ", 75.0)
        bar.say("a line")
    text = stream.getvalue()
    for part in ("epoch 5/10", "50%", "loss 0.5000", "best mrr 0.2500", "12,346 triples/s", ":"):
        assert part in text


def test_the_display_fits_where_it_is_shown() -> None:
    assert type(display(enabled=False, epochs=1, steps=1, done=0)) is Silence
    assert type(display(enabled=True, epochs=1, steps=1, done=0)) is PlainLines  # no terminal here
