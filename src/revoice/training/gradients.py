"""Gradients of a part that learns, and the 16-bit copies of its weights that a step in bf16 computes with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_COPIED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)  # what autocast casts weights of


class HalfWeights:
    """bf16 copies of the weights of linear and convolutional layers, all made at once.

    Autocast would cast every weight by itself, and every gradient back: two kernels for each, as many as there are
    multiplications. The numbers are the same. Which layers autocast serves is seen the first time that they are used;
    all others stay as they are. Weights that do not learn are copied once, and again where somebody changes them.

    Args:
        network: whose layers.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = list(network.modules())
        others = {id(p) for each in modules if not isinstance(each, _COPIED) for p in each._parameters.values()}
        layers = [each for each in modules if isinstance(each, _COPIED) and "weight" in each._parameters]
        layers = [each for each in layers if id(each.weight) not in others]  # shared with what autocast leaves alone
        self._cast: dict[nn.Module, bool] = {}  # by layer that was used: whether always under autocast
        self._hooks = [layer.register_forward_pre_hook(self._see) for layer in layers]
        self._places: list[tuple[nn.Module, str, Tensor]] = []
        self._weights: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._of: dict[int, Tensor] = {}
        self._fixed: dict[Tensor, int] = {}  # those that do not learn, and which version was copied

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the weights; a graph made before cannot be gone back through any more."""
        if self._hooks and self._cast:
            self._settle()
        if self._copies:
            torch._foreach_copy_(self._copies, self._weights)
        for weight, version in self._fixed.items():
            if weight._version != version:
                self._of[id(weight)].copy_(weight)
                self._fixed[weight] = weight._version

    @contextmanager
    def used(self) -> Iterator[None]:
        """The layers compute with the copies, but for the first time."""
        for layer, name, weight in self._places:
            layer._parameters[name] = self._of[id(weight)]  # type: ignore[assignment]
        try:
            yield
        finally:
            for layer, name, weight in self._places:
                layer._parameters[name] = weight  # type: ignore[assignment]

    def of(self, weight: Tensor) -> Tensor:
        """What a graph made meanwhile knows a weight as."""
        return self._of.get(id(weight), weight)

    def _see(self, layer: nn.Module, inputs: Any) -> None:
        cast = torch.is_autocast_enabled(inputs[0].device.type)
        self._cast[layer] = cast and self._cast.get(layer, True)

    def _settle(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._places = [
            (layer, name, weight)
            for layer, cast in self._cast.items() if cast
            for name, weight in layer._parameters.items() if weight is not None
        ]  # fmt: skip
        weights = {id(weight): weight for _, _, weight in self._places}
        self._of = {
            key: torch.empty_like(weight, dtype=torch.bfloat16).requires_grad_(weight.requires_grad)
            for key, weight in weights.items()
        }
        self._weights = [weight for weight in weights.values() if weight.requires_grad]
        self._copies = [self._of[id(weight)] for weight in self._weights]
        self._fixed = {weight: -1 for weight in weights.values() if not weight.requires_grad}


class Gradients:
    """Puts the gradients of losses into `.grad` of the weights of a part.

    `backward` would do so weight by weight. Of weights with copies, `.grad` stays the same tensor from iteration to
    iteration.

    Args:
        weights: of the part.
        copies: in 16 bits, of some of them; None: of none.
    """

    def __init__(self, weights: Sequence[Tensor], copies: HalfWeights | None = None) -> None:
        self.weights = list(weights)
        self._copies = copies
        self._kept: dict[int, Tensor] = {}

    def clear(self) -> None:
        """There are none."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def add(self, total: Tensor) -> None:
        """Those of a scalar, on top of what is there; weights that it does not depend on are left alone."""
        copies = self._copies
        leaves = self.weights if copies is None else [copies.of(weight) for weight in self.weights]
        found = torch.autograd.grad(total, leaves, allow_unused=True)
        seen: set[int] = set()
        into: list[Tensor] = []
        new: list[Tensor] = []
        onto: list[Tensor] = []
        more: list[Tensor] = []
        for place, (weight, gradient) in enumerate(zip(self.weights, found, strict=True)):
            if gradient is None:
                continue
            if weight.grad is not None:
                onto.append(weight.grad)
                more.append(gradient)
            elif (
                gradient.dtype == weight.dtype
                and gradient.stride() == weight.stride()
                and gradient.data_ptr() not in seen  # of a sum, both terms are given the same tensor
            ):
                seen.add(gradient.data_ptr())
                weight.grad = gradient
            else:
                weight.grad = self._room(place, weight)
                into.append(weight.grad)
                new.append(gradient)
        if into:
            torch._foreach_copy_(into, new)
        if onto:
            torch._foreach_add_(onto, more)

    def _room(self, place: int, weight: Tensor) -> Tensor:
        if place not in self._kept:
            self._kept[place] = torch.empty_like(weight)
        return self._kept[place]


def half_weights(parts: Mapping[str, nn.Module], precision: Any) -> dict[str, HalfWeights]:
    """Copies for the parts of a model that are trained in bf16; in other precisions there is nothing to copy.

    Of what torch.compile runs there are none: it casts by itself.
    """
    compiled = any(m._compiled_call_impl is not None for part in parts.values() for m in part.modules())
    if str(precision) != "bf16-mixed" or compiled:
        return {}
    return {name: HalfWeights(part) for name, part in parts.items()}
