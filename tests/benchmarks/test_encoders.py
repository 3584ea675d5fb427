"""The message form of CompGCN, against which ours is timed, is the same layer."""

import pytest
import torch

from benchmarks.encoders import MessageCompGCN, OurCompGCN
from pyg_kgtransfer.models.compgcn import OPERATORS, CompGCNConv


@pytest.mark.parametrize("op", OPERATORS)
def test_the_message_form_is_the_same_layer(op: str) -> None:
    torch.manual_seed(0)
    edge_index, edge_type = torch.randint(0, 6, (2, 20)), torch.randint(0, 4, (20,))
    conv = CompGCNConv(4, 4, 2, op=op)
    ours = OurCompGCN(conv, edge_index, edge_type)
    theirs = MessageCompGCN(conv, edge_index, edge_type, 6)
    x, z = torch.randn(6, 4, requires_grad=True), torch.randn(4, 4, requires_grad=True)
    grads = []
    for layer in (ours, theirs):
        out = layer(x, z)
        grads.append([out, *torch.autograd.grad(out.square().sum(), [x, z])])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-5)
