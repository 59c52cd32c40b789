"""HiFi-GAN's generator: sizes, lengths and alignment, settings that do not belong together."""

from pathlib import Path

import pytest
import torch

from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.errors import UserError
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.hifigan import HiFiGAN

TINY = {"channels": 16, "block_kernels": (3,), "dilations": ((1, 3),)}
V3 = {"channels": 256, "rates": (8, 8, 4), "kernels": (16, 16, 8), "block": 2, "block_kernels": (3, 5, 7)}


@pytest.mark.parametrize(
    ("arguments", "count"),
    [({}, 13_936_130), ({"channels": 128}, 928_514), (V3 | {"dilations": ((1, 2), (2, 6), (3, 12))}, 1_464_322)],
    ids=["V1", "V2", "V3"],
)
def test_published_sizes(arguments: dict, count: int) -> None:
    with torch.device("meta"):
        vocoder = VOCODERS.build("hifigan", arguments, {"spec": load_preset("mel_22k")})
    assert sum(p.numel() for p in vocoder.parameters()) == count


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_it_comes_back_from_its_file(suffix: str, tmp_path: Path) -> None:
    vocoder, file = HiFiGAN(load_preset("mel_22k"), **TINY).eval(), tmp_path / f"v{suffix}"
    about = Description(kind="vocoder", model="hifigan", arguments=TINY, features=vocoder.spec.to_dict())
    save(vocoder, about, file)
    features = torch.randn(1, 80, 5)
    assert torch.equal(load_checkpoint(file).model(features), vocoder(features))


@pytest.mark.parametrize("preset", ["mel_22k", "mel_24k100"])
def test_a_frame_becomes_the_samples_around_its_center(preset: str) -> None:
    torch.manual_seed(0)
    spec = load_preset(preset)
    vocoder = HiFiGAN(spec, **TINY).eval()
    features = torch.randn(2, spec.channels, 7)
    made, whole = vocoder(features), vocoder.upsample(features)
    assert made.shape == (2, spec.samples(7)) and whole.shape == (2, 7 * spec.hop)
    for frame in range(1, 6):  # from half a hop before its center to half a hop behind it
        center = spec.frame_offset + frame * spec.hop
        piece = made[:, center - spec.hop // 2 : center + spec.hop // 2]
        torch.testing.assert_close(piece, whole[:, frame * spec.hop : (frame + 1) * spec.hop])


def test_a_change_is_heard_around_its_frame() -> None:
    torch.manual_seed(0)
    spec = load_preset("mel_24k100")
    vocoder = HiFiGAN(spec, **TINY).eval()
    features = torch.randn(1, spec.channels, 31)
    changed = features.clone()
    changed[..., 15] += 1
    with torch.no_grad():
        places = (vocoder(features) - vocoder(changed))[0].abs().nonzero()[:, 0].double()
    assert abs(float(places.mean()) - 15 * spec.hop) < spec.hop / 4


@pytest.mark.parametrize("frames", [0, 1])
def test_nothing_becomes_nothing(frames: int) -> None:
    assert HiFiGAN(load_preset("mel_24k100"), **TINY)(torch.zeros(2, 100, frames)).shape == (2, 0)


def test_fused_weights_speak_alike() -> None:
    torch.manual_seed(0)
    vocoder = HiFiGAN(load_preset("mel_22k"), **TINY).eval()
    features = torch.randn(1, 80, 5)
    before = vocoder(features)
    vocoder.fuse()
    assert not any("parametrizations" in name for name in vocoder.state_dict())
    torch.testing.assert_close(vocoder(features), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rates": (8, 8), "kernels": (16, 16)}, "makes 64 samples of a frame, expected the hop, 256"),
        ({"kernels": (16, 16, 4)}, "vocoder.kernels"),
        ({"kernels": (15, 16, 4, 4)}, "vocoder.kernels"),
        ({"dilations": ((1, 3),)}, "vocoder.dilations has 1 rows, expected 3"),
        ({"channels": 8}, "vocoder.channels=8: expected at least 16"),
        ({"block": 3}, "vocoder.block"),
        ({"block_kernels": (3, 4, 5)}, "vocoder.block_kernels"),
    ],
)
def test_wrong_settings_are_told_in_a_line(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        VOCODERS.build("hifigan", arguments, {"spec": load_preset("mel_22k")})
    assert "\n" not in str(caught.value)
