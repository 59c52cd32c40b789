"""A network with named inputs, of which some grow: what is traced, and compared with torch in onnxruntime."""

import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from revoice.errors import UserError, one_line

SHORTEST, LONGEST = 64, 1 << 20  # frames
_TRACED, _COMPARED = (86, 107), (67, 138)  # of two lengths: how much longer than the shortest, in its 64ths


@dataclass(frozen=True)
class Graph:
    """A network with named inputs.

    Attributes:
        module: takes the inputs in their order.
        shapes: of each input, a number or a multiple of a named length: `(1, 80, ("frames", 1))`.
        output: what the result is called.
        truth: what it has to equal, if not itself; takes the same inputs.
        shortest: that every length may be.  longest: that the first one may be.
        integers: which inputs are int64, and how many values from 0 on each may have.
        facts: more that a program needs to know, plain values by name.
        beside: graphs that make what this one takes, by what they make.
    """

    module: nn.Module
    shapes: Mapping[str, tuple[Any, ...]]
    output: str
    truth: nn.Module | None = None
    shortest: int = SHORTEST
    longest: int = LONGEST
    integers: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, "Graph"] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The lengths, in their order."""
        return list(dict.fromkeys(each[0] for shape in self.shapes.values() for each in shape if _grows(each)))

    def inputs(self, lengths: Mapping[str, int], seed: int = 0) -> dict[str, Tensor]:
        """Random inputs; pitches are some, and waveforms are voiced."""
        found = {}
        for number, (name, shape) in enumerate(self.shapes.items()):
            sizes = [lengths[each[0]] * each[1] if _grows(each) else each for each in shape]
            drawn = torch.rand(*sizes, generator=torch.Generator().manual_seed(1000 * seed + number))
            if name in self.integers:
                found[name] = (drawn * self.integers[name]).long()
            else:
                hertz = 100 + 100 * drawn
                found[name] = hertz if name.endswith("f0") else hertz.log() if name.endswith("level") else drawn
                found[name] = _voice(drawn) if name.endswith("waveform") else found[name]
        return found

    def traced(self) -> Any:
        """The graph as a `ModelProto`, without what it would say of results on the way."""
        example = self._examples(_TRACED)
        quiet = logging.getLogger("torch.onnx")
        level = quiet.level
        quiet.setLevel(logging.ERROR)
        try:
            with torch.no_grad(), warnings.catch_warnings(action="ignore"):
                program = torch.onnx.export(
                    self.module.eval(), tuple(example.values()), dynamic_shapes=self._dimensions(), dynamo=True,
                    verbose=False, input_names=list(example), output_names=[self.output],
                )  # fmt: skip
        finally:
            quiet.setLevel(level)
        assert program is not None
        proto = program.model_proto
        del proto.graph.value_info[:]  # of what the exporter believes of sizes on the way not all is true
        return proto

    def distance(self, content: bytes) -> float:
        """How far onnxruntime is from torch at most, relative to the largest value.

        Raises:
            UserError: onnxruntime cannot run it, results are of unlike shapes, or of a pitch that is found nowhere.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        worst = 0.0
        for longer in (_TRACED, _COMPARED):
            inputs = self._examples(longer)
            with torch.no_grad():
                expected = (self.truth or self.module)(*inputs.values()).numpy()
            if "unvoiced" in self.facts and not (expected != self.facts["unvoiced"]).any():
                raise UserError(
                    "the network finds no pitch in a plain voice, on which its graph is checked: train it further"
                )
            given = {name: value.numpy() for name, value in inputs.items()}
            try:
                session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
                found = session.run(None, given)[0]
            except Exception as error:  # onnxruntime's own are of many kinds, for sizes that were not traced too
                raise UserError(f"onnxruntime does not run the graph: {one_line(error, 160)}") from error
            if found.shape != expected.shape:
                raise UserError(f"the graph gives {list(found.shape)} where torch gives {list(expected.shape)}")
            apart = float(np.abs(found - expected).max() / max(1e-8, np.abs(expected).max()))
            worst = apart if math.isnan(apart) else max(worst, apart)  # `max` passes over what is not a number
        return worst

    def about(self) -> dict[str, Any]:
        """What it takes, as its description says it: lengths in multiples of a name, counts of integers' values."""
        inputs = {
            name: [f"{each[1]} * {each[0]}" if _grows(each) else each for each in shape]
            for name, shape in self.shapes.items()
        }
        longest = {"longest": self.longest} if self.longest < LONGEST else {}
        integers = {"integers": dict(self.integers)} if self.integers else {}
        return {
            "shortest": self.shortest, **longest, "inputs": inputs, **integers, "output": self.output, **self.facts
        }  # fmt: skip

    def _examples(self, longer: tuple[int, int]) -> dict[str, Tensor]:
        sizes = [self.shortest + each * self.shortest // SHORTEST for each in longer]
        return self.inputs(dict(zip(self.names, sizes, strict=False)))

    def _dimensions(self) -> tuple[Any, ...]:
        """What may grow of each input, as `torch.export` takes it."""
        most = dict.fromkeys(self.names, LONGEST) | dict.fromkeys(self.names[:1], self.longest)
        lengths = {name: Dim(name, min=self.shortest, max=most[name]) for name in self.names}
        found = tuple(
            {
                i: lengths[each[0]] * each[1] if each[1] > 1 else lengths[each[0]]
                for i, each in enumerate(shape)
                if _grows(each)
            }
            for shape in self.shapes.values()
        )
        return (found,) if isinstance(self.module, Variadic) else found


class Variadic(nn.Module):
    """A module that takes as many inputs as it was made for."""


def _voice(noise: Tensor) -> Tensor:
    """Twelve harmonics and a little of the noise (..., S); the period falls from 160 to 40 samples, whatever the rate.

    Of that, some lies between 60 and 600 Hz at any rate from 4 to 96 kHz.
    """
    steps = torch.logspace(0, 2, noise.shape[-1], base=2, dtype=torch.float64) / 160
    phase = 2 * torch.pi * steps.cumsum(0)
    tones = sum(torch.sin(k * phase) / k for k in range(1, 13))
    return 0.1 * torch.as_tensor(tones).float() + 0.02 * (noise - 0.5)


def _grows(size: Any) -> bool:
    return isinstance(size, tuple)
