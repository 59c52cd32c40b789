"""What readers of published weights share: names, and weights that must fit."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from revoice.errors import UserError

# torch's older weight norm -> its parametrization; the published programs write the older one
WEIGHT_NORM = (
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)


def renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """The name after all of the rules (pattern, replacement), in their order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def load_renamed(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Copy weights that bear our names into a network.

    Args:
        model: whose weights and buffers they must be, all of them and no other.
        state: by name.
        what: the published system, for messages.

    Raises:
        UserError: a name or a shape that does not fit.
    """
    own = model.state_dict()
    for name in sorted(own.keys() ^ state.keys()):
        where = "file" if name in state else "configured network"
        raise UserError(
            f"{what} weights do not fit: '{name}' is only in the {where}: is its configuration the right one?"
        )
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            found, expected = list(state[name].shape), list(tensor.shape)
            raise UserError(f"{what} weights do not fit: {name} is {found}, expected {expected}")
    model.load_state_dict(dict(state))
