"""What readers of published weights share: names, settings, and weights that must fit."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.fit import require_fit, sketch, widened
from revoice.checkpoint.load import unwrapped
from revoice.critics.base import CRITICS, Critic
from revoice.errors import UserError
from revoice.interop.pickled import Pickled, inside, read_pickled, state_of
from revoice.models.base import MODELS, Trainable
from revoice.untrusted import read_safetensors, read_torch, refused
from revoice.vocoders.base import VOCODERS, Vocoder

M = TypeVar("M", bound=nn.Module)

# torch's older weight norm -> its parametrization; the published programs write the older one
WEIGHT_NORM = (
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)


def renamed(name: str, rules: Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]) -> str:
    """The name after all of the rules (pattern, replacement as `re.sub` takes it), in their order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def with_norms(state: Mapping[str, Tensor], normed: Callable[[str], bool]) -> dict[str, Tensor]:
    """Weights by our names, where weight norm was multiplied out as a norm and a direction again.

    Args:
        state: by name; what already is a norm and a direction stays.
        normed: whether a plain weight of this name is under weight norm.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if not normed(name):
            found[name] = value
            continue
        norm = torch.norm_except_dim(value, 2, 0)
        magnitude, direction = (f"{name.removesuffix('weight')}parametrizations.weight.original{i}" for i in (0, 1))
        found |= {magnitude: norm, direction: torch.where(norm > 0, value, 1.0)}  # a norm of 0 has no direction
    return found


def load_renamed(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Copy weights that bear our names into a network.

    Args:
        model: whose weights and buffers they must be, all of them and no other.
        state: by name.
        what: the published system, for messages.

    Raises:
        UserError: names, shapes or types that differ; numbers that are not finite.
    """
    require_fit(model.state_dict(), state, what)
    model.load_state_dict(dict(state))


def settings_of(values: Any, needed: Sequence[str], what: str) -> Mapping[str, Any]:
    """A group of published settings, once it is one and holds what is needed.

    Raises:
        UserError: it does not; `what` names it.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{what}: expected settings by name")
    for name in needed:
        if name not in values:
            raise UserError(f"{what} lacks {name}: is it the file that was published beside the weights?")
    return values


@dataclass(frozen=True)
class Weights:
    """Weights on the CPU by bare names, in float32 where the file has 16 bits.

    `half`: the file has float16 alone.  `made_by`: the class of a whole module, "glow.WaveGlow"; "" of a state_dict.
    """

    state: dict[str, Tensor]
    half: bool
    made_by: str = ""


def read_weights(file: Path, holders: Sequence[str], expected: str, packages: Sequence[str] = ()) -> Weights:
    """The weights in a published file, without what DistributedDataParallel and torch.compile put into their names.

    Args:
        file: of torch, of whatever age, or `.safetensors`.
        holders: entries of the file that may hold the weights; the file itself may be the state_dict.
        expected: what the file should be, for messages.
        packages: whose classes a whole module in it may name (`interop.pickled`); none: plain tensors alone.

    Raises:
        UserError: there is none, or one that asks for code; not named, the caller wraps this in `refused`.
    """
    if file.suffix == ".safetensors":
        content: Any = read_safetensors(file, "")[1]
    else:
        content = read_pickled(file, *packages) if packages else read_torch(file, legacy=True)
    inner: Mapping[Any, Any] = content if isinstance(content, Mapping) else {}
    state: Mapping[Any, Any] = next((inner[name] for name in holders if isinstance(inner.get(name), Mapping)), inner)
    made_by = ""
    if isinstance(state, Pickled):
        made_by, state = inside(state).made_by, state_of(inside(state))
    if not state or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise UserError(f"no state_dict of plain tensors in it: expected {expected}")
    bare = {unwrapped(name): widened(value, torch.float32) for name, value in state.items()}
    if len(bare) < len(state):
        raise UserError("it holds a weight twice, wrapped and not: save the state_dict of one model")
    kinds = {value.dtype for value in state.values() if value.is_floating_point()}
    return Weights(bare, half=kinds == {torch.float16}, made_by=made_by)


def build_vocoder(
    name: str, arguments: Mapping[str, Any], spec: FeatureSpec, state: Mapping[str, Tensor], file: Path, config: Path
) -> Vocoder:
    """A vocoder with these weights, in eval mode; see `build_model`.

    Args:
        name: registry name.  arguments: of its class, besides `spec`.
        state: by our names.
        file, config: where the weights and what describes the network are from, for messages.
    """
    return _built(name, lambda: VOCODERS.build(name, arguments, {"spec": spec}), state, file, config)


def build_model(
    name: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor], file: Path, config: Path | None = None
) -> Trainable:
    """A model with these weights, in eval mode; not built before its sizes are those of the weights.

    Args:
        name: registry name.  arguments: of its class.
        state: by our names.
        file: where they are from, for messages.  config: where the arguments are from; None: the weights.

    Raises:
        UserError: arguments that no such network has; names, shapes or types that differ; numbers that are not finite.
    """
    return _built(name, lambda: MODELS.build(name, arguments), state, file, config or file)


def build_critic(name: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor], file: Path) -> Critic:
    """A critic with these weights, in eval mode; see `build_model`."""
    return _built(name, lambda: CRITICS.build(name, arguments), state, file, file)


def _built(name: str, build: Callable[[], M], state: Mapping[str, Tensor], file: Path, config: Path) -> M:
    with refused(config, f"configuration of {name}"):
        expected = sketch(build, len(state)).state_dict()
    with refused(file, "state_dict of plain tensors"):
        require_fit(expected, state, name if config == file else f"{name} ({config})")
    network = build()
    network.load_state_dict(dict(state))
    return network.eval()
