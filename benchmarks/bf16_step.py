"""Training steps in bf16 against float32: AdaIN-VC and the VQ-VAEs at their published sizes, on this machine.

On a CPU without bf16 instructions (avx512_bf16 or amx_bf16) bf16 is emulated, and slower: the table says what there is.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from revoice.audio.presets import config_dir
from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.models.base import MODELS, ConversionModel
from revoice.nn.draws import Draws
from revoice.training.objective import Objective

SYSTEMS = ("adain_vc_code", "vqvae", "vqvae_zerospeech", "vqvae_speech2speech")


def configured(name: str) -> tuple[dict[str, Any], ConversionModel, int]:
    """Settings, model and feature channels of a preset."""
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config: Any = OmegaConf.to_container(compose("train", [f"model={name}"]), resolve=True)
    channels = FeatureSpec.from_dict(config["features"]).channels
    values = dict(config["model"])
    kind = values.pop("name")
    model = MODELS.build(kind, MODELS.arguments(kind, values, {"n_features": channels, "n_speakers": 109}))
    return config, model, channels


def make_batch(model: ConversionModel, items: int, channels: int, step: int, device: str) -> Batch:
    draw = torch.Generator().manual_seed(step)
    frames = model.requires.frames
    batch = Batch(
        id=("",) * items, features=torch.randn(items, channels, frames, generator=draw),
        reference=torch.randn(items, channels, model.requires.reference or frames, generator=draw),
        lengths=torch.full((items,), frames), f0=torch.full((items, frames), 120.0),
        embedding=torch.nn.functional.normalize(torch.randn(items, 256, generator=draw), dim=1),
        speaker=torch.arange(items) % 109, draws=Draws(0, step, 0, items, items),
    )  # fmt: skip
    return batch.to(torch.device(device))


def seconds_per_step(name: str, items: int, steps: int, rounds: int, device: str) -> dict[str, float]:
    """The best round of each precision; rounds alternate, so that a busy machine slows both."""
    torch.manual_seed(0)
    config, model, channels = configured(name)
    model = model.to(device).train()
    objective, optimizer = Objective(config["loss"]), torch.optim.Adam(model.parameters(), lr=1e-5)
    batch = make_batch(model, items, channels, 0, device)
    best = {"float32": float("inf"), "bf16": float("inf")}
    for number in range(rounds + 1):
        for precision in best:
            began = time.perf_counter()
            for _ in range(steps):
                with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
                    total = objective(model.losses(batch), 10**6)
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                best[precision] = min(best[precision], (time.perf_counter() - began) / steps)
    return best


def bf16_instructions() -> str:
    """What the CPU has for bf16."""
    path = Path("/proc/cpuinfo")
    flags = set(path.read_text().split()) if path.is_file() else set()
    return ", ".join(sorted(flags & {"avx512_bf16", "amx_bf16"})) or "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}; CPU instructions for bf16: {bf16_instructions()}; {options.items} crops a step")
    print(f"{'system':22} {'float32 ms':>11} {'bf16 ms':>9} {'ratio':>7}")
    for name in SYSTEMS:
        best = seconds_per_step(name, options.items, options.steps, options.rounds, device)
        ratio = best["float32"] / best["bf16"]
        print(f"{name:22} {best['float32'] * 1000:11.1f} {best['bf16'] * 1000:9.1f} {ratio:6.2f}x", flush=True)


if __name__ == "__main__":
    main()
