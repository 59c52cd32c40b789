"""Published Vocos weights and settings (github.com/gemelo-ai/vocos, MIT) for our network."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.interop.published import load_renamed, renamed
from revoice.vocoders.vocos import Vocos

_RENAMES = (
    (r"^backbone\.", ""),
    (r"^convnext\.", "blocks."),
    (r"\.dwconv\.", ".depthwise."),
    (r"\.pwconv1\.", ".up."),
    (r"\.pwconv2\.", ".down."),
    (r"norm\.(scale|shift)\.weight$", r"norm.\1"),
    (r"^final_layer_norm\.", "last_norm."),
    (r"^head\.out\.", "out."),
)
_COMPUTED = ("feature_extractor.", "head.istft.window")  # buffers that the settings decide


def our_name(published: str) -> str:
    """Our parameter name for a published one.

    >>> our_name("backbone.convnext.2.pwconv1.bias"), our_name("backbone.norm.scale.weight")
    ('blocks.2.up.bias', 'norm.scale')
    """
    return renamed(published, _RENAMES)


def features_of(config: Mapping[str, Any]) -> FeatureSpec:
    """The features of a published `config.yaml`; a part that is not the published class is a `UserError`."""
    given = _arguments(config, "feature_extractor", "MelSpectrogramFeatures")
    n_fft = given.get("n_fft", 1024)
    return FeatureSpec(
        sample_rate=given.get("sample_rate", 24000),
        n_fft=n_fft,
        hop=given.get("hop_length", 256),
        win=n_fft,
        padding=given.get("padding", "center"),
        mels=given.get("n_mels", 100),
        mel_scale="htk",
        mel_norm="none",
        floor=1e-7,
    )


def published_vocos(config: Mapping[str, Any], row: int = 0) -> Vocos:
    """The network of a published `config.yaml`, its weights not yet loaded.

    Raises:
        UserError: other classes than those published; a backbone or head that does not suit the features.
    """
    spec = features_of(config)
    backbone = _arguments(config, "backbone", "VocosBackbone")
    head = _arguments(config, "head", "ISTFTHead")
    for what, found, expected in (
        ("backbone.input_channels", backbone["input_channels"], spec.channels),
        ("head.dim", head["dim"], backbone["dim"]),
        ("head.hop_length", head["hop_length"], spec.hop),
        ("head.padding", head.get("padding", "same"), spec.padding),
    ):
        if found != expected:
            raise UserError(f"Vocos: {what} is {found}, expected {expected}, as the other parts of its config.yaml say")
    return Vocos(
        spec,
        dim=backbone["dim"],
        hidden=backbone["intermediate_dim"],
        layers=backbone["num_layers"],
        n_fft=head["n_fft"],
        rows=backbone.get("adanorm_num_embeddings") or 0,
        row=row,
    )


def load_state(model: Vocos, published: Mapping[str, Tensor]) -> None:
    """Copy published weights into `model`; a name or shape that does not fit is a `UserError`."""
    kept = {name: value for name, value in published.items() if not name.startswith(_COMPUTED)}
    load_renamed(model, {our_name(name): value for name, value in kept.items()}, "Vocos")


def _arguments(config: Mapping[str, Any], part: str, kind: str) -> Mapping[str, Any]:
    described = config.get(part, {})
    if str(described.get("class_path", "")).rpartition(".")[2] != kind:
        raise UserError(f"Vocos: its {part} is {described.get('class_path')}, expected a {kind}")
    return described.get("init_args", {})
