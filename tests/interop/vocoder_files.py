"""Vocoders in the forms that are published, written by hand."""

import re
from typing import Any

import torch
from torch import Tensor, nn

from revoice.audio.presets import load_preset
from revoice.vocoders.hifigan import HiFiGAN
from revoice.vocoders.vocos import Vocos

Names = tuple[tuple[str, str], ...]

_PUBLISHED = (  # our name -> the published one, the same for all systems but for what differs by its place
    (r"parametrizations\.weight\.original0$", "weight_g"),
    (r"parametrizations\.weight\.original1$", "weight_v"),
)
VOCOS = (
    (r"^(embed|norm)\.", r"backbone.\1."),
    (r"^blocks\.", "backbone.convnext."),
    (r"^last_norm\.", "backbone.final_layer_norm."),
    (r"^out\.", "head.out."),
    (r"\.depthwise\.", ".dwconv."),
    (r"\.up\.", ".pwconv1."),
    (r"\.down\.", ".pwconv2."),
)

WAVEGLOW = (
    (r"^up\.", "upsample."),
    (r"^flows\.(\d+)\.mix\.", r"convinv.\1.conv."),
    (r"^flows\.(\d+)\.coupling\.", r"WN.\1."),
    (r"\.first\.", ".start."),
    (r"\.last\.", ".end."),
    (r"\.dilated\.", ".in_layers."),
    (r"\.condition\.", ".cond_layer."),
    (r"\.narrow\.", ".res_skip_layers."),
)

HIFIGAN_JSON: dict[str, Any] = {
    "resblock": "1", "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 16, "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3], [1, 2]],
    "num_mels": 80, "n_fft": 1024, "hop_size": 256, "win_size": 1024, "sampling_rate": 22050, "fmin": 0,
    "fmax": 8000, "fmax_for_loss": None, "segment_size": 8192, "learning_rate": 0.0002,
    "dist_config": {"dist_url": "tcp://localhost:54321"},
}  # fmt: skip


def vocos_yaml(**changed: dict[str, Any]) -> dict[str, Any]:
    """A published config.yaml, with arguments of its parts changed."""
    parts = {
        "feature_extractor": ("feature_extractors.MelSpectrogramFeatures", {"sample_rate": 24000, "n_fft": 1024,
                              "hop_length": 256, "n_mels": 100, "padding": "center"}),
        "backbone": ("models.VocosBackbone", {"input_channels": 100, "dim": 8, "intermediate_dim": 12,
                     "num_layers": 2}),
        "head": ("heads.ISTFTHead", {"dim": 8, "n_fft": 1024, "hop_length": 256, "padding": "center"}),
    }  # fmt: skip
    return {
        part: {"class_path": f"vocos.{name}", "init_args": {**given, **changed.get(part, {})}}
        for part, (name, given) in parts.items()
    }


def hifigan_names(block: int) -> tuple[tuple[str, str], ...]:
    return (
        (r"^first\.", "conv_pre."),
        (r"^last\.", "conv_post."),
        (r"^up\.", "ups."),
        (r"^blocks\.", "resblocks."),
        (r"\.dilated\.", ".convs1." if block == 1 else ".convs."),
        (r"\.plain\.", ".convs2."),
    )


def published_name(ours: str, names: Names) -> str:
    for old, new in (*_PUBLISHED, *names):
        ours = re.sub(old, new, ours)
    return ours


def published(model: nn.Module, names: Names) -> dict[str, Tensor]:
    """Its weights by published names."""
    return {published_name(name, names): value.clone() for name, value in model.state_dict().items()}


def tiny_vocos() -> tuple[Vocos, dict[str, Tensor]]:
    """One of random weights, and what the published package holds of it."""
    torch.manual_seed(0)
    model = Vocos(load_preset("mel_24k100"), dim=8, hidden=12, layers=2).eval()
    computed = {
        "feature_extractor.mel_spec.spectrogram.window": torch.hann_window(1024),
        "feature_extractor.mel_spec.mel_scale.fb": torch.zeros(513, 100),
        "head.istft.window": torch.hann_window(1024),
    }
    return model, computed | published(model, VOCOS)


def tiny_hifigan() -> tuple[HiFiGAN, dict[str, Tensor]]:
    """One of random weights, and the published generator's names for them."""
    torch.manual_seed(0)
    sizes = {"channels": 16, "block_kernels": (3, 5), "dilations": ((1, 3), (1, 2))}
    model = HiFiGAN(load_preset("mel_22k"), **sizes).eval()  # type: ignore[arg-type]
    return model, published(model, hifigan_names(1))
