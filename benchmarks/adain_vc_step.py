"""An AdaIN-VC training step with fused normalization against the same with the formulas written out, in one run."""

import time

import torch
from torch import Tensor

from revoice.data.read.batch import Batch
from revoice.models.adain_vc import AdaINVC, encoders
from revoice.nn import adain_decoder
from revoice.nn.adain import TimeStatistics, adaptive_instance_norm, instance_norm, time_statistics
from revoice.nn.draws import Draws

ITEMS, FRAMES, STEPS, ROUNDS = 16, 128, 5, 5


def plain_instance_norm(x: Tensor) -> Tensor:
    mean, std = time_statistics(x)
    return (x - mean) / std


def plain_adaptive_instance_norm(x: Tensor, style: TimeStatistics) -> Tensor:
    mean, std = (each.view(*x.shape[:2], 1) for each in style)
    return plain_instance_norm(x) * std + mean


def milliseconds_per_step(model: AdaINVC, optimizer: torch.optim.Optimizer, features: Tensor) -> float:
    began = time.perf_counter()
    for step in range(STEPS):
        batch = Batch(
            id=("",) * ITEMS, features=features, reference=features, lengths=torch.full((ITEMS,), FRAMES),
            draws=Draws(0, step, 0, ITEMS, ITEMS),
        )  # fmt: skip
        losses = model.losses(batch)
        (10 * losses["reconstruction"] + losses["kl"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - began) / STEPS * 1000


def main() -> None:
    torch.manual_seed(0)
    model = AdaINVC(80)
    optimizer = torch.optim.Adam(model.parameters())
    features = torch.randn(ITEMS, 80, FRAMES)
    forms = {
        "plain": (plain_instance_norm, plain_adaptive_instance_norm),
        "fused": (instance_norm, adaptive_instance_norm),
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(ROUNDS + 1):  # the first round warms up; rounds alternate, so that a busy machine slows both
        for name, (norm, adain) in forms.items():
            encoders.instance_norm = adain_decoder.instance_norm = norm
            adain_decoder.adaptive_instance_norm = adain
            times[name].append(milliseconds_per_step(model, optimizer, features))
    best = {name: min(values[1:]) for name, values in times.items()}
    parameters = sum(p.numel() for p in model.parameters())
    print(f"AdaIN-VC, {parameters:,} parameters, {ITEMS} crops of {FRAMES} frames, {torch.get_num_threads()} threads")
    for name, value in best.items():
        print(f"  {name}: {value:7.1f} ms per step")
    print(f"  plain / fused: {best['plain'] / best['fused']:.2f}x")


if __name__ == "__main__":
    main()
