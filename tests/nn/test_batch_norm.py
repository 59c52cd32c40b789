"""Batch normalization over all processes is that of one process with the whole batch."""

import pytest
import torch
from torch import nn

from revoice.nn import batch_norm


@pytest.mark.parametrize(("make", "shape"), [("BatchNorm1d", (3, 4, 5)), ("BatchNorm2d", (3, 4, 5, 2))])
def test_two_processes_with_equal_halves_equal_one(make: str, shape: tuple[int, ...], monkeypatch) -> None:
    torch.manual_seed(0)
    half = torch.randn(*shape, dtype=torch.float64)
    whole, ours = getattr(nn, make)(4).double(), getattr(batch_norm, make)(4).double()
    expected = whole(torch.cat([half, half]))
    monkeypatch.setattr(batch_norm, "processes", lambda: 2)
    monkeypatch.setattr(batch_norm, "summed_with_gradient", lambda values: 2 * values)
    torch.testing.assert_close(ours(half), expected[:3], rtol=1e-12, atol=1e-12)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-12, atol=1e-12)
