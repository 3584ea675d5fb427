"""Adagrad with one number of state per row: for tables whose state must not outgrow them."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad that keeps the mean square of a row's gradients instead of each number's.

    For row i of a table of width D, with gradient g_i:

        s_i <- s_i + |g_i|^2 / D,    w_i <- w_i - lr * g_i / (sqrt(s_i) + eps)

    State is 1/D of the table (Adam's is twice the table). Of a sparse gradient the rows that it
    names are touched, no others. Every parameter of two or more dimensions is a table of rows;
    vectors and scalars have a state of their own shape, as in plain Adagrad. Weights in bfloat16
    are rounded stochastically, so that steps smaller than their precision are not lost on average;
    the draws come from torch's random state.

    Args:
        params: As torch optimizers take them.
        lr: The learning rate, above 0.
        eps: Above 0.
        weight_decay: At least 0, times the weights, added to the gradient; for gradients of whole
            tables alone.

    Raises:
        ValueError: If a number is out of range; in a step, if weights are to decay whose gradient
            is sparse.

    Source: Gupta, Koren and Singer 2014, "Training highly multiclass classifiers", JMLR 15, p.
    1479 (one rate per row); used for embeddings by Lerer et al. 2019, "PyTorch-BigGraph", arXiv
    1903.12287, section 3.1. Stochastic rounding: Gupta et al. 2015, arXiv 1502.02551, section 3.

    Example:
        >>> table = torch.nn.Parameter(torch.zeros(3, 2))
        >>> optimizer = RowwiseAdagrad([table], lr=0.5)
        >>> torch.nn.functional.embedding(torch.tensor([1]), table, sparse=True).sum().backward()
        >>> optimizer.step()
        >>> table.tolist(), optimizer.state[table]["sum"].tolist()
        ([[0.0, 0.0], [-0.5, -0.5], [0.0, 0.0]], [0.0, 1.0, 0.0])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        *,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        if not lr > 0 or not eps > 0 or not weight_decay >= 0:
            raise ValueError(
                "lr and eps must be above 0 and weight_decay at least 0 "
                f"(got {lr}, {eps} and {weight_decay})"
            )
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; ``closure`` as torch has it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._descend(parameter, parameter.grad, group)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave, in its precision, not in that of the weights."""
        super().load_state_dict(state_dict)
        kept = [number for group in state_dict["param_groups"] for number in group["params"]]
        own = [parameter for group in self.param_groups for parameter in group["params"]]
        for number, parameter in zip(kept, own, strict=True):
            if number in state_dict["state"]:
                total = state_dict["state"][number]["sum"]
                self.state[parameter]["sum"] = total.to(parameter.device, copy=True)

    def _descend(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, decay = self.state[parameter], group["weight_decay"]
        is_table = parameter.dim() > 1
        if "sum" not in state:
            shape = parameter.shape[:1] if is_table else parameter.shape
            state["sum"] = torch.zeros(shape, device=parameter.device, dtype=_precision(parameter))
        if not gradient.is_sparse:
            weights = parameter.to(_precision(parameter))
            gradient = gradient.to(weights.dtype) + decay * weights
            change = _change(gradient, state["sum"], group)
            parameter.copy_(_rounded(weights - change, parameter.dtype))
            return
        if decay:
            raise ValueError(f"weights with a sparse gradient cannot decay (got {decay})")
        gradient = gradient.coalesce()
        rows = gradient.indices()[0]
        sums = state["sum"][rows]
        change = _change(gradient.values().to(sums.dtype), sums, group)
        state["sum"].index_copy_(0, rows, sums)
        weights = parameter.index_select(0, rows).to(sums.dtype)
        parameter.index_copy_(0, rows, _rounded(weights.sub_(change), parameter.dtype))


def _precision(weights: Tensor) -> torch.dtype:
    """What steps are computed in: at least 32 bits."""
    return torch.promote_types(weights.dtype, torch.float32)


def _change(gradient: Tensor, sums: Tensor, group: dict[str, Any]) -> Tensor:
    """What is taken from the weights; the sums grow in place."""
    square = gradient.square()
    if gradient.dim() > 1:
        square = square.flatten(1).mean(1)
    rate = group["lr"] / (sums.add_(square).sqrt() + group["eps"])
    if gradient.dim() > 1:
        rate = rate.view(-1, *[1] * (gradient.dim() - 1))
    return gradient * rate


def _rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in a type; in bfloat16 each goes up or down with chances by how near it is."""
    if dtype != torch.bfloat16:
        return values.to(dtype)
    bits = values.contiguous().view(torch.int32)
    noise = torch.randint(1 << 16, bits.shape, dtype=torch.int32, device=bits.device)
    return ((bits + noise) & -(1 << 16)).view(torch.float32).to(torch.bfloat16)
