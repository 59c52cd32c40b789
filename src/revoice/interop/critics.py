"""Weights of a critic, from whatever file holds one: a run of ours, an imported file, HiFi-GAN's do_*."""

from pathlib import Path

from torch import Tensor

from revoice.checkpoint.description import KEY
from revoice.checkpoint.fit import require_fit, widened
from revoice.checkpoint.load import unwrapped
from revoice.critics.base import Critic
from revoice.errors import UserError
from revoice.interop.hifigan import CRITICS, critics_of
from revoice.untrusted import read_safetensors, read_torch, refused


def read_critic(file: Path, label: str, critic: Critic) -> dict[str, Tensor]:
    """The state for a critic, once it is found to fit.

    Args:
        file: of whatever kind.
        label: what the critic is called in the run: in the file it has that name, or that of its network.
        critic: which it is for.

    Raises:
        UserError: no critic of that name is in it, or one of other sizes.
    """
    with refused(file, "file of critics"):
        state = _state(file, label, critic.name)
        expected = critic.state_dict()
        state = {
            name: widened(value, expected[name].dtype) if name in expected else value for name, value in state.items()
        }
        require_fit(expected, state, f"critic {label}")
        return state


def _state(file: Path, label: str, name: str) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        held = {unwrapped(key): value for key, value in read_safetensors(file, KEY)[1].items()}
        prefixes = [f"{name}."]
    else:
        content = read_torch(file, legacy=True)
        if not isinstance(content, dict):
            raise UserError("no critics in it")
        if KEY not in content:
            if name not in CRITICS:
                raise UserError(f"it holds HiFi-GAN's critics, {' and '.join(CRITICS)}, not {name}")
            return critics_of(content)[name]
        held = {unwrapped(str(key)): value for key, value in content["state_dict"].items()}
        prefixes = [f"critics.{label}.critic.", f"model.{name}."]
    for prefix in prefixes:
        found = {key.removeprefix(prefix): value for key, value in held.items() if key.startswith(prefix)}
        if found:
            return found
    raise UserError(f"no critic {label} in it: expected a last.ckpt of a training with one, or imported critics")
