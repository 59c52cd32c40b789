"""Published WaveGlow weights and settings (github.com/NVIDIA/waveglow, BSD-3-Clause; NeMo) for our network."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.interop.published import WEIGHT_NORM, load_renamed, renamed, with_norms
from revoice.vocoders.waveglow import HOPS, WaveGlow

_NAMES = (
    *WEIGHT_NORM,
    (r"^upsample\.", "up."),
    (r"^convinv\.(\d+)\.conv\.", r"flows.\1.mix."),
    (r"^(?:WN|wavenet)\.(\d+)\.", r"flows.\1.coupling."),
    (r"\.start\.", ".first."),
    (r"\.end\.", ".last."),
    (r"\.in_layers\.", ".dilated."),
    (r"\.cond_layer\.", ".condition."),
    (r"\.res_skip_layers\.", ".narrow."),
)
_NORMED = re.compile(r"\.(first|dilated\.\d+|condition|narrow\.\d+)\.weight$")
_WRAPPED = r"^(?:1\.|waveglow\.)"  # behind a layer that makes its input 16 bits; NeMo's
_FRONT_END = "audio_to_melspec_precessor."  # NeMo's: a window and mel filters, or the bases of its STFT
_LAYER = re.compile(r"(.*)\.(cond|res|skip)_layers\.(\d+)\.(.*)")


def our_name(published: str) -> str:
    """Our name for a published one.

    >>> our_name("WN.3.in_layers.0.weight_g"), our_name("convinv.0.conv.weight")
    ('flows.3.coupling.dilated.0.parametrizations.weight.original0', 'flows.0.mix.weight')
    """
    return renamed(published, _NAMES)


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by our names, of any published layout.

    Older ones have a condition per layer, or the two outputs of a layer apart; weights whose norm was multiplied out
    become a norm and a direction again. A plain weight beside its norm is an old product of the two, and left out, and
    so is what NeMo's model carries beside the network: inverses of the mixes, and how its mels are made.
    """
    bare = {re.sub(_WRAPPED, "", name): value for name, value in published.items() if not name.startswith(_FRONT_END)}
    kept = {n: v for n, v in bare.items() if ".inv_conv." not in n and not (n.endswith(".weight") and f"{n}_g" in bare)}
    state = {our_name(name): value for name, value in _joined(kept).items()}
    return with_norms(state, lambda name: bool(_NORMED.search(name)))


def _joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Layers that older files keep apart, as one: each of their tensors has the output channels first."""
    whole: dict[str, Tensor] = {}
    apart: dict[str, dict[tuple[int, str], Tensor]] = {}
    for name, value in state.items():
        found = _LAYER.fullmatch(name)
        if found is None:
            whole[name] = value
            continue
        module, kind, number, rest = found.groups()
        into = f"{module}.cond_layer.{rest}" if kind == "cond" else f"{module}.res_skip_layers.{number}.{rest}"
        apart.setdefault(into, {})[int(number), kind] = value
    return whole | {name: torch.cat([parts[key] for key in sorted(parts)]) for name, parts in apart.items()}


def arguments(state: Mapping[str, Tensor], alternate: bool = False) -> dict[str, Any]:
    """`WaveGlow` arguments that the shapes of weights by our names tell; it hears features as they are.

    Raises:
        UserError: they are not those of a WaveGlow.
    """
    try:
        sizes = [len(state[f"flows.{i}.mix.weight"]) for i in range(_count(state, r"flows\.(\d+)\.mix\."))]
        dilated = state["flows.0.coupling.dilated.0.parametrizations.weight.original1"]
        if state["up.weight"].dim() != 3:
            raise UserError("no weights of a WaveGlow in it: upsample.weight is no transposed convolution")
        drops = [i for i in range(1, len(sizes)) if sizes[i] != sizes[i - 1]]
        every = drops[0] if drops else len(sizes)
        return {
            "channels": dilated.shape[1],
            "layers": _count(state, r"flows\.0\.coupling\.dilated\.(\d+)\."),
            "kernel": dilated.shape[2],
            "flows": len(sizes),
            "groups": sizes[0],
            "early_every": every,
            "early_size": sizes[0] - sizes[every] if drops else 2,
            "alternate": alternate,
            "raw": True,
        }
    except (KeyError, IndexError) as error:
        raise UserError(f"no weights of a WaveGlow in it: {error.args[0]} is not there as expected") from error


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max((int(found[1]) for name in state if (found := re.match(pattern, name))), default=-1)


def features_of(state: Mapping[str, Tensor], data: Mapping[str, Any] | None, preset: str | None) -> FeatureSpec:
    """The features that it hears.

    Args:
        state: weights by our names: they tell the hop and the number of bands.
        data: `data_config` of the published config.json; None: Tacotron's, as released.
        preset: of our features, whatever `data` says; SpeechSplit's WaveGlow hears speechsplit_16k.
    """
    up = state["up.weight"]
    spec = load_preset(preset or "mel_22k_tacotron")
    told = {"mels": len(up), "hop": up.shape[2] // HOPS}
    if preset:
        if (spec.channels, spec.hop) != (told["mels"], told["hop"]):
            raise UserError(
                f"preset={preset} has {spec.channels} channels and a hop of {spec.hop}, "
                f"the weights are of {told['mels']} and {told['hop']}"
            )
        return spec
    if data is not None:
        told |= {ours: data[theirs] for ours, theirs in _DATA.items() if theirs in data}
    return FeatureSpec.from_dict(spec.to_dict() | told)


def filters_of(published: Mapping[str, Tensor]) -> Mapping[str, Any] | None:
    """Where the mel filters end that NeMo's model carries, as `data_config` says it; None: it carries none.

    The last filter falls in a straight line to 0, which lies at `mel_fmax`: NeMo's default is half the sample rate,
    Tacotron's 8000 Hz.
    """
    bank = published.get(f"{_FRONT_END}fb")
    if bank is None or bank.dim() != 3 or len(places := bank[0, -1].nonzero()[-2:, 0]) < 2:
        return None
    high, low = bank[0, -1].double()[places].tolist()
    end = int(places[1]) + low / max(high - low, 1e-12)  # bins, of n_fft / 2 + 1
    return {"mel_fmax": float(round(end * load_preset("mel_22k_tacotron").sample_rate / (2 * bank.shape[2] - 2)))}


_DATA = {
    "sample_rate": "sampling_rate", "n_fft": "filter_length", "win": "win_length", "fmin": "mel_fmin",
    "fmax": "mel_fmax",
}  # fmt: skip


def require_told(told: Mapping[str, Any], found: Mapping[str, Any], mels: int) -> None:
    """Refuse a `waveglow_config` that is of other weights."""
    network = told.get("WN_config")
    both = {**told, **(network if isinstance(network, Mapping) else {})}
    known = {
        "n_mel_channels": mels, "n_flows": found["flows"], "n_group": found["groups"], "n_layers": found["layers"],
        "n_channels": found["channels"], "kernel_size": found["kernel"],
    }  # fmt: skip
    for name, size in known.items():
        if name in both and both[name] != size:
            raise UserError(f"its {name} is {both[name]}, that of the weights {size}")


def load_state(model: WaveGlow, published: Mapping[str, Tensor]) -> None:
    """Copy published weights into `model`; a name or shape that does not fit is a `UserError`."""
    load_renamed(model, our_state(published), "WaveGlow")
