"""Published SpeechSplit files: `660000-G.ckpt` and `640000-P.ckpt`, each `{model: state_dict, optimizer: ...}`.

Written by the programs of github.com/auspicious3000/SpeechSplit (MIT).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from revoice.errors import UserError
from revoice.interop.published import load_renamed, renamed
from revoice.models.speechsplit.networks import GROUP, DecoderSize, EncoderSize

_LAYERS = (
    (r"\.(\d+)\.0\.conv\.", r".convs.\1."),
    (r"\.(\d+)\.1\.(weight|bias)$", r".norms.\1.\2"),
    (r"^decoder\.linear_projection\.linear_layer\.", "decoder.out."),
)
_GENERATOR = (
    *_LAYERS,
    (r"^encoder_1\.convolutions_1\.", "content."),
    (r"^encoder_1\.lstm_1\.", "content.lstm."),
    (r"^encoder_1\.convolutions_2\.", "pitch."),
    (r"^encoder_1\.lstm_2\.", "pitch.lstm."),
    (r"^encoder_2\.convolutions\.", "rhythm."),
    (r"^encoder_2\.", "rhythm."),
)
_CONVERTER = (
    *_LAYERS,
    (r"^encoder_2\.convolutions\.", "rhythm."),
    (r"^encoder_2\.", "rhythm."),
    (r"^encoder_3\.convolutions\.", "pitch."),
    (r"^encoder_3\.", "pitch."),
)
EVERY = 8  # frames of a code in all that was published; the weights do not tell


def is_generator(state: Mapping[str, Tensor]) -> bool:
    """Whether a state_dict is G's, else P's.

    Raises:
        UserError: it is neither's.
    """
    if "encoder_1.lstm_1.weight_ih_l0" in state:
        return True
    if "encoder_3.lstm.weight_ih_l0" in state:
        return False
    raise UserError("neither SpeechSplit's generator (660000-G.ckpt) nor its F0 converter (640000-P.ckpt)")


def our_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of G or P by our names; the constant `len_org` is left out."""
    rules = _GENERATOR if is_generator(state) else _CONVERTER
    found = {renamed(name, rules): value for name, value in state.items() if not name.endswith(".len_org")}
    return {name.replace("..", "."): value for name, value in found.items()}


def load_part(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy published weights into our G or P; what does not fit is a `UserError`."""
    load_renamed(network, our_state(state), "SpeechSplit")


def sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes of a published G or P, read off the shapes of its weights.

    Returns:
        encoders: `EncoderSize` by name.  decoder: `DecoderSize`.  features: F.  voice: what tells the voice, 0 of P.
    """
    ours = our_state(state)
    names = ("content", "rhythm", "pitch") if is_generator(state) else ("rhythm", "pitch")
    encoders = {name: _encoder(ours, name) for name in names}
    codes = sum(2 * each.hidden for each in encoders.values())
    hidden = ours["decoder.lstm.weight_hh_l0"].shape[1]
    return {
        "encoders": encoders,
        "decoder": DecoderSize(hidden=hidden, layers=_depth(ours, "decoder.lstm")),
        "features": ours["rhythm.convs.0.weight"].shape[1],
        "voice": ours["decoder.lstm.weight_ih_l0"].shape[1] - codes,
    }


def _encoder(state: Mapping[str, Tensor], name: str) -> EncoderSize:
    channels = state[f"{name}.convs.0.weight"].shape[0]
    if channels % GROUP:
        raise UserError(f"SpeechSplit with {channels} channels, expected a multiple of {GROUP}")
    return EncoderSize(
        channels=channels,
        convolutions=len([key for key in state if key.startswith(f"{name}.convs.") and key.endswith("weight")]),
        hidden=state[f"{name}.lstm.weight_hh_l0"].shape[1],
        layers=_depth(state, f"{name}.lstm"),
        every=EVERY,
    )


def _depth(state: Mapping[str, Tensor], name: str) -> int:
    layers = len([key for key in state if key.startswith(f"{name}.weight_hh_l") and not key.endswith("_reverse")])
    if not layers:
        raise UserError(f"SpeechSplit lacks {name}.weight_hh_l0")
    return layers
