"""Where to compute, checked before anything is loaded."""

import torch


def available_device(text: str) -> torch.device:
    """The device called ``text``: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        ValueError: If there is no such device here.

    Example:
        >>> available_device("cpu")
        device(type='cpu')
    """
    kind, _, place = text.partition(":")
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if place and not (place.isascii() and place.isdigit()):
        raise ValueError(f"a device is a kind and a number, such as cuda:0 (got {text!r})")
    if kind not in count or int(place or 0) >= count[kind]:
        here = ", ".join(name if n == 1 else f"{name} (of {n})" for name, n in count.items() if n)
        raise ValueError(f"the device must be one of this machine: {here} (got {text!r})")
    return torch.device(text)


def check_accelerator(name: str) -> None:
    """Refuse an accelerator of ``TrainConfig`` that this machine lacks; ``auto`` always fits.

    Raises:
        ValueError: If it is not there.
    """
    if name != "auto":
        available_device("cuda" if name == "gpu" else name)
