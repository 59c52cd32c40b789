"""Published sizes: counts of parameters, and outputs for weights that a formula gives (`real_size.json`)."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.audio.presets import load_preset
from revoice.critics.period import PeriodCritic
from revoice.critics.scale import ScaleCritic
from revoice.interop.hifigan import load_critic, load_generator
from revoice.interop.vocos import load_state
from revoice.interop.waveglow import load_state as load_waveglow
from revoice.vocoders.hifigan import HiFiGAN
from revoice.vocoders.vocos import Vocos
from revoice.vocoders.waveglow import WaveGlow
from tests.interop.vocoder_files import VOCOS, WAVEGLOW, hifigan_names, published_name

_V3 = {"channels": 256, "rates": (8, 8, 4), "kernels": (16, 16, 8), "block": 2, "block_kernels": (3, 5, 7)}


def critic_names(last: int) -> tuple[tuple[str, str], ...]:
    return ((r"^critics\.", "discriminators."), (rf"\.layers\.{last}\.", ".conv_post."), (r"\.layers\.", ".convs."))


def pattern(size: int, key: str) -> np.ndarray:
    """The formula's numbers (size,) from -1 to 1, float64."""
    x = np.arange(size, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(zlib.crc32(key.encode()))
    for _ in range(2):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x45D9F3B)
    x ^= x >> np.uint32(16)
    return 2.0 * x / 2.0**32 - 1.0


def formula_input(key: str, *shape: int) -> Tensor:
    return torch.from_numpy(0.5 + 0.5 * pattern(int(np.prod(shape)), key)).float().view(shape)


def weight(key: str, shape: torch.Size) -> Tensor:
    p = pattern(shape.numel(), key)
    if key.endswith("weight_g"):
        p = 1 + 0.3 * p
    elif "gamma" in key:
        p = 0.5 + 0.1 * p
    elif len(shape) <= 1:
        p = 1 + 0.1 * p if key.endswith("weight") else 0.1 * p
    else:
        p = p * (6 / (shape.numel() / shape[0])) ** 0.5
    return torch.from_numpy(p).float().view(shape)


def state(model: nn.Module, names: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """The formula's weights under their published names, the vectors of spectral norm among them."""
    found = {}
    for ours, parameter in model.named_parameters():
        published = published_name(ours, names)
        found[published] = weight(published, parameter.shape)
    for name in [name for name in found if name.endswith(".weight_orig")]:
        module, matrix = name.removesuffix(".weight_orig"), found[name].flatten(1).double()
        u = F.normalize(torch.from_numpy(pattern(len(matrix), f"{module}.weight_u")), dim=0)
        v = F.normalize(matrix.T @ u, dim=0)
        found |= {f"{module}.weight_u": F.normalize(matrix @ v, dim=0).float(), f"{module}.weight_v": v.float()}
    return found


def require_equal(made: Tensor, expected: dict) -> None:
    assert list(made.shape) == expected["shape"]
    tolerance = 1e-4 * expected["max_abs"]
    assert abs(float(made.double().mean()) - expected["mean"]) < tolerance
    assert abs(float(made.double().std()) - expected["std"]) < tolerance
    assert abs(float(made.abs().max()) - expected["max_abs"]) < tolerance
    torch.testing.assert_close(made.flatten()[:16].tolist(), expected["first16"], rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def sizes(shared: Path) -> dict:
    return json.loads((shared / "parity" / "real_size.json").read_text())["models"]


@torch.no_grad()
def test_vocos(sizes: dict) -> None:
    expected, model = sizes["Vocos mel 24 kHz"], Vocos(load_preset("mel_24k100")).eval()
    assert sum(p.numel() for p in model.parameters()) == expected["parameters"]
    load_state(model, state(model, VOCOS))
    require_equal(model(formula_input("mel", 1, 100, 20) * 6 - 6), expected["outputs"]["wav"])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("V1", {}), ("V2", {"channels": 128}), ("V3", _V3 | {"dilations": ((1, 2), (2, 6), (3, 12))})],
    ids=["V1", "V2", "V3"],
)
@torch.no_grad()
def test_hifigan(sizes: dict, name: str, arguments: dict) -> None:
    expected, model = sizes[f"HiFi-GAN generator {name}"], HiFiGAN(load_preset("mel_22k"), **arguments).eval()
    assert sum(p.numel() for p in model.parameters()) == expected["parameters"]
    weights = state(model, hifigan_names(arguments.get("block", 1)))
    weights["conv_post.weight_g"] *= 0.1
    load_generator(model, weights)
    require_equal(model(formula_input("mel", 1, 80, 8) * 4 - 4)[:, None], expected["outputs"]["wav"])
    model.fuse()
    assert sum(p.numel() for p in model.parameters()) == expected["parameters_fused"]


@pytest.mark.parametrize(("name", "make", "last"), [("MPD", PeriodCritic, 5), ("MSD", ScaleCritic, 7)])
@torch.no_grad()
def test_hifigan_critics(sizes: dict, name: str, make: Callable[[], PeriodCritic | ScaleCritic], last: int) -> None:
    expected, model = sizes[f"HiFi-GAN {name}"], make().eval()
    assert sum(p.numel() for p in model.parameters()) == expected["parameters"]
    load_critic(model, state(model, critic_names(last)))
    judged = model((formula_input("y", 1, 1, 4103) - 0.5)[:, 0])
    for i, (scores, maps) in enumerate(zip(judged.scores, judged.maps, strict=True)):
        require_equal(scores, expected["outputs"][f"score_{i}"])
        for j, seen in enumerate(maps):
            require_equal(seen, expected["outputs"][f"fmap_{i}_{j}"])


def test_waveglow_counts(sizes: dict) -> None:
    for channels in (256, 512):
        with torch.device("meta"):
            model = WaveGlow(load_preset("mel_22k_tacotron"), channels=channels)
        expected = sizes[f"WaveGlow {channels} channels"]["parameters"]
        assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.slow
@torch.no_grad()
def test_waveglow(sizes: dict) -> None:
    expected, model = sizes["WaveGlow 256 channels"], WaveGlow(load_preset("mel_22k_tacotron")).eval()
    weights = state(model, WAVEGLOW)
    for name, value in weights.items():
        if name.startswith("convinv."):
            size = len(value)
            mixed = np.eye(size) + 0.05 * pattern(size * size, ".".join(name.split(".")[:2])).reshape(size, size)
            weights[name] = torch.from_numpy(mixed).float()[..., None]
        elif ".end." in name:
            weights[name] = value * 0.1
    load_waveglow(model, weights)
    mel, audio = formula_input("mel", 1, 80, 8), formula_input("audio", 1, 1600) - 0.5
    require_equal(model.encode(audio, mel).z, expected["outputs"]["z"])
