"""Who sums: the engines there are, and which of them works on a device."""

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from difflib import get_close_matches
from typing import Protocol, cast

import torch
from torch import Tensor

from pyg_kgtransfer.kernels import numba_engine, scatter_engine, torch_engine, triton_engine
from pyg_kgtransfer.kernels.csr import CSR, EdgeOrder
from pyg_kgtransfer.kernels.products import Product


class Engine(Protocol):
    """What each engine offers: a module of functions on float32 and float64, without autograd."""

    def why_not(self, device: torch.device) -> str:
        """Why it cannot work on ``device``; empty if it can."""
        ...

    def table_type(self, dtype: torch.dtype) -> torch.dtype:
        """The type in which it reads tables of ``dtype``."""
        ...

    def csr_product(self, matrix: CSR, x: Tensor, values: Tensor | None) -> Tensor:
        """The matrix, with its own values or others ([P]), times [columns, D]: [rows, D]."""
        ...

    def product_sum(
        self, edges: EdgeOrder, first: Tensor, second: Tensor, weight: Tensor, kind: Product
    ) -> Tensor:
        """Row i: the sum of w first[a] second[b] over its edges (a, b): [rows, D]."""
        ...

    def product_dots(
        self, edges: EdgeOrder, left: Tensor, first: Tensor, second: Tensor, kind: Product
    ) -> Tensor:
        """left[row] . (first[a] second[b]) at each edge: [M]."""
        ...

    def csr_dots(self, matrix: CSR, left: Tensor, right: Tensor) -> Tensor:
        """left[row] . right[column] at each entry: [P]."""
        ...


_ENGINES = cast(
    dict[str, Engine],
    {
        "numba": numba_engine,
        "triton": triton_engine,
        "scatter": scatter_engine,
        "torch": torch_engine,
    },
)
ENGINES = tuple(_ENGINES)
_PREFERRED = {"cpu": ("numba", "torch"), "cuda": ("triton", "torch")}
_forced: ContextVar[str | None] = ContextVar("engine", default=None)


@contextlib.contextmanager
def forced_engine(name: str) -> Iterator[None]:
    """Use one engine, whatever is there; the environment variable ``KGT_ENGINE`` does the same.

    Raises:
        ValueError: If there is no such engine.

    Example:
        >>> with forced_engine("torch"):
        ...     engine_name(torch.device("cpu"))
        'torch'
    """
    token = _forced.set(_known(name))
    try:
        yield
    finally:
        _forced.reset(token)


def engine_name(device: torch.device) -> str:
    """The engine that sums on ``device``: the forced one, else the fastest that is there.

    Raises:
        ValueError: If the forced engine is unknown, or cannot work there.
    """
    forced = _forced.get() or os.environ.get("KGT_ENGINE")
    if forced is None:
        preferred = _PREFERRED.get(device.type, ("torch",))
        return next(name for name in preferred if not _ENGINES[name].why_not(device))
    reason = _ENGINES[_known(forced)].why_not(device)
    if reason:
        raise ValueError(f"the engine {forced} cannot be used: {reason}")
    return forced


def engine_for(device: torch.device) -> Engine:
    """The engine itself; see ``engine_name``."""
    return _ENGINES[engine_name(device)]


def engines_on(device: torch.device) -> dict[str, str]:
    """Every engine, with why it cannot work on ``device``, or an empty text."""
    return {name: engine.why_not(device) for name, engine in _ENGINES.items()}


def _known(name: str) -> str:
    if name not in _ENGINES:
        near = get_close_matches(name, ENGINES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"an engine is one of {', '.join(ENGINES)} (got {name!r}){hint}")
    return name
