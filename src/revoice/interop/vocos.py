"""Published Vocos weights and settings (github.com/gemelo-ai/vocos, MIT) for our network."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.interop.published import load_renamed, renamed, settings_of
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
_OF_TRAINING = ("multiperioddisc.", "multiresddisc.", "melspec_loss.")  # beside the network in Lightning's checkpoints


def our_name(published: str) -> str:
    """Our parameter name for a published one.

    >>> our_name("backbone.convnext.2.pwconv1.bias"), our_name("backbone.norm.scale.weight")
    ('blocks.2.up.bias', 'norm.scale')
    """
    return renamed(published, _RENAMES)


def parts(config: Any) -> Mapping[str, Any]:
    """The published parts of a `config.yaml`, be it that of a training, which has them inside of a model."""
    found = settings_of(config, [], "Vocos: its config.yaml")
    if "model" in found:
        found = settings_of(
            settings_of(found["model"], ["init_args"], "Vocos: its model")["init_args"], [], "init_args"
        )
    return found


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


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """`Vocos` arguments of a published `config.yaml`, besides the features.

    Raises:
        UserError: other classes than those published; a backbone or head that does not suit the features.
    """
    spec = features_of(config)
    backbone = _arguments(
        config, "backbone", "VocosBackbone", "input_channels", "dim", "intermediate_dim", "num_layers"
    )
    head = _arguments(config, "head", "ISTFTHead", "dim", "n_fft", "hop_length")
    for what, found, expected in (
        ("backbone.input_channels", backbone["input_channels"], spec.channels),
        ("head.dim", head["dim"], backbone["dim"]),
        ("head.hop_length", head["hop_length"], spec.hop),
        ("head.padding", head.get("padding", "same"), spec.padding),
    ):
        if found != expected:
            raise UserError(f"Vocos: {what} is {found}, expected {expected}, as the other parts of its config.yaml say")
    return {
        "dim": backbone["dim"],
        "hidden": backbone["intermediate_dim"],
        "layers": backbone["num_layers"],
        "n_fft": head["n_fft"],
        "rows": backbone.get("adanorm_num_embeddings") or 0,
    }


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's weights by our names, without what is computed and what only training needs."""
    rest = (*_COMPUTED, *_OF_TRAINING)
    return {our_name(name): value for name, value in published.items() if not name.startswith(rest)}


def load_state(model: Vocos, published: Mapping[str, Tensor]) -> None:
    """Copy published weights into `model`; a name or shape that does not fit is a `UserError`."""
    load_renamed(model, our_state(published), "Vocos")


def _arguments(config: Mapping[str, Any], part: str, kind: str, *needed: str) -> Mapping[str, Any]:
    described = settings_of(config.get(part), ["class_path"], f"Vocos: its {part}")
    if str(described["class_path"]).rpartition(".")[2] != kind:
        raise UserError(f"Vocos: its {part} is {described['class_path']}, expected a {kind}")
    return settings_of(described.get("init_args", {}), needed, f"Vocos: its {part}")
