"""LSTMs inside of graphs: torch's own is traced as the loop over the steps that the example had."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx import ops

_ORDER = (0, 3, 1, 2)  # torch's gates are input, forget, cell, output; a graph's are input, output, forget, cell


class Recurrent(nn.Module):
    """`nn.LSTM` (batch first, from a state of zeros) as nodes of a graph. It runs nowhere else."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        assert lstm.batch_first and lstm.bias and not lstm.proj_size
        self.hidden, self.layers, self.ways = lstm.hidden_size, lstm.num_layers, 1 + lstm.bidirectional
        for layer in range(lstm.num_layers):
            for kind, names in (("weight", ("ih", "hh")), ("bias", ("ih", "hh"))):
                for name in names:
                    ends = [f"{kind}_{name}_l{layer}{end}" for end in ("", "_reverse")[: self.ways]]
                    self.register_buffer(f"{kind}_{name}_{layer}", torch.stack([_ordered(lstm, each) for each in ends]))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """(B, T, C) -> (B, T, ways x hidden), and no last state."""
        items, frames = x.shape[:2]
        x = x.transpose(0, 1)  # (T, B, C)
        for layer in range(self.layers):
            inner, state = self.get_buffer(f"weight_ih_{layer}"), self.get_buffer(f"weight_hh_{layer}")
            bias = torch.cat([self.get_buffer(f"bias_ih_{layer}"), self.get_buffer(f"bias_hh_{layer}")], dim=1)
            attributes: dict[str, Any] = {
                "hidden_size": self.hidden,
                "direction": "bidirectional" if self.ways == 2 else "forward",
            }
            shape = (frames, self.ways, items, self.hidden)
            made = ops.symbolic("LSTM", (x, inner, state, bias), attributes, dtype=x.dtype, shape=shape, version=14)
            x = made.transpose(1, 2).flatten(2)  # (T, B, ways x hidden)
        return x.transpose(0, 1), None


def _ordered(lstm: nn.LSTM, name: str) -> Tensor:
    gates = lstm.get_parameter(name).detach().chunk(4)
    return torch.cat([gates[i] for i in _ORDER])
