"""The losses that the published search ends with, for `benchmarks/random_cnn.py` to compare with: hours.

    OMP_NUM_THREADS=1 python benchmarks/random_cnn_reference.py [--seconds 1.4 2] [--seeds 10] [--exact]
    OMP_NUM_THREADS=1 python benchmarks/random_cnn_reference.py --content a.wav --style b.wav

20,000 steps of Adam from noise on the published loss in its cheap form: the first 14,000 to a precision of 1e-3, which
is enough to come near, 4,000 to 1e-5 and the last 2,000 exactly; `--exact` takes all of them exactly. What they end
with is judged by the exact loss; once for each seed, into random_cnn_reference.json beside this script. What is there
is kept, so several of these may run at once, `--first` telling where each begins.
"""

import argparse
import fcntl
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numba
import numpy as np
import torch
from random_cnn import CONTENT, REFERENCE, STEPS, STYLE, exact, known, noise, pairs, total
from torch import Tensor

from revoice.models.random_cnn.features import RandomFeatures
from revoice.models.random_cnn.search import Objective, Style, observe

Phase = tuple[int, float]  # steps of Adam, precision
PHASES: tuple[Phase, ...] = ((14_000, 1e-3), (4_000, 1e-5), (2_000, 0.0))
assert sum(steps for steps, _ in PHASES) == STEPS


@numba.njit(fastmath=True)  # type: ignore[untyped-decorator]
def forwards(image, weight, kept, axes, slope, features):  # type: ignore[no-untyped-def]
    """Features (k, F', T) along the axes (k, C), and the squared distance of those of all channels to `kept`."""
    rows, channels, frames = kept.shape
    found, total = np.empty((channels, frames), np.float32), 0.0
    for r in range(rows):
        for c in range(channels):
            distance = np.float32(0)
            for t in range(frames):
                value = weight[c, 0] * image[r, t] + weight[c, 1] * image[r + 1, t] + weight[c, 2] * image[r + 2, t]
                found[c, t] = max(value, slope * value)
                distance += (found[c, t] - kept[r, c, t]) ** 2
            total += distance
        for k in range(len(axes)):
            for t in range(frames):
                features[k, r, t] = axes[k, 0] * found[0, t]
            for c in range(1, channels):
                for t in range(frames):
                    features[k, r, t] += axes[k, c] * found[c, t]
    return total


@numba.njit(fastmath=True)  # type: ignore[untyped-decorator]
def backwards(image, weight, kept, axes, slope, pull, scale, gradient):  # type: ignore[no-untyped-def]
    """Gradient in the image: `scale` times that of half the squared distance, and that of features pulled by `pull`."""
    rows, channels, frames = kept.shape
    back = np.empty(frames, np.float32)
    gradient[:] = 0
    for r in range(rows):
        for c in range(channels):
            for t in range(frames):
                back[t] = axes[0, c] * pull[0, r, t]
            for k in range(1, len(axes)):
                for t in range(frames):
                    back[t] += axes[k, c] * pull[k, r, t]
            for t in range(frames):
                value = weight[c, 0] * image[r, t] + weight[c, 1] * image[r + 1, t] + weight[c, 2] * image[r + 2, t]
                change = scale * (max(value, slope * value) - kept[r, c, t]) + back[t]
                back[t] = change if value > 0 else slope * change
            for i in range(3):
                for t in range(frames):
                    gradient[r + i, t] += weight[c, i] * back[t]


class Fused:
    """The published loss and its gradient for one layer of 3x1 filters: what `Objective` computes, in two passes.

    Automatic differentiation goes over the features of 32 channels a dozen times, and several searches at once wait for
    the same memory; this goes over them in a core's cache.
    """

    def __init__(self, network: RandomFeatures, content: Tensor, style: Style) -> None:
        kept = network(content)[0]
        channels, self.rows, self.frames = kept.shape
        self.kept = kept.permute(1, 0, 2).contiguous().numpy()
        self.weight, self.slope = network.weights[0].flatten(1).numpy(), np.float32(network.slope)
        self.axes = (torch.eye(channels) if style.axes[0] is None else style.axes[0]).numpy()
        self.factor = style.factors[0]
        self.energy = _square(self.factor.T @ self.factor)
        self.features = torch.empty(len(self.axes) * self.rows, self.frames)
        size = self.rows * self.frames
        self.content_scale = CONTENT / (4 * channels * size)
        self.style_scale = STYLE / (4 * channels**2 * size)

    def __call__(self, image: Tensor) -> tuple[float, Tensor]:
        """Loss and gradient of an image (F, T)."""
        given = image.numpy(), self.weight, self.kept, self.axes, self.slope
        content = forwards(*given, self._by_axis(self.features))
        own, cross = self.features.T @ self.features, self.factor.T @ self.features
        style = _square(own) - 2 * _square(cross) + self.energy
        pull = self.features @ own.mul_(4 * self.style_scale)
        pull.addmm_(self.factor, cross.mul_(-4 * self.style_scale))
        gradient = torch.empty_like(image)
        backwards(*given, self._by_axis(pull), np.float32(2 * self.content_scale), gradient.numpy())
        return self.content_scale * content + self.style_scale * style, gradient

    def _by_axis(self, rows: Tensor) -> np.ndarray:
        return rows.view(-1, self.rows, self.frames).numpy()


def _square(matrix: Tensor) -> float:
    return float(torch.linalg.vector_norm(matrix, dtype=torch.float64).square())


def check(fused: Fused, objective: Objective, image: Tensor) -> None:
    """End if the two forms of the loss differ."""
    image = image.clone().requires_grad_(True)
    content, style = objective(image)
    loss = CONTENT * content + STYLE * style
    loss.backward()
    found, gradient = fused(image.detach())
    assert image.grad is not None
    worst = float((gradient - image.grad).norm() / image.grad.norm())
    if abs(found - float(loss.detach())) > 1e-5 * found or worst > 1e-5:
        raise SystemExit(
            f"the two forms of the loss differ: {found} and {float(loss.detach())}, gradients by {worst:.1e}"
        )


def searched(network: RandomFeatures, content: Tensor, style: Tensor, seed: int, phases: Sequence[Phase]) -> float:
    """The exact loss of what Adam ends with, as published but for the precision of its first steps."""
    image, judge = noise(content, seed).requires_grad_(True), exact(network, content, style)
    adam = torch.optim.Adam([image], lr=1e-3)
    for steps, precision in phases:
        seen = observe(network, [style], precision)
        fused = Fused(network, content, seen)
        check(fused, Objective(network, content, seen), content + noise(content, seed))
        for step in range(steps):
            _, image.grad = fused(image.detach())
            adam.step()
            if step % 2000 == 1999:
                print(
                    f"    {step + 1} steps at precision {precision:g}: {total(judge, image.detach()):.4f}", flush=True
                )
    return total(judge, image.detach())


def record(key: str, seed: int, loss: float) -> None:
    """Add a loss to the table, whoever else does."""
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = known()
        table.setdefault(key, {})[str(seed)] = round(loss, 6)
        ordered = {name: dict(sorted(table[name].items(), key=lambda entry: int(entry[0]))) for name in sorted(table)}
        REFERENCE.write_text(json.dumps(ordered, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.4, 2.0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--content", type=Path)
    parser.add_argument("--style", type=Path)
    options = parser.parse_args()
    with torch.no_grad():
        clips = list(pairs(options))
    for seed in range(options.first, options.seeds):
        for _, key, content, style in clips:
            key = f"{key} exact" if options.exact else key
            if str(seed) in known().get(key, {}):
                continue
            network, began = RandomFeatures.draw(seed), time.perf_counter()
            loss = searched(network, content, style, seed, ((STEPS, 0.0),) if options.exact else PHASES)
            record(key, seed, loss)
            print(f"{key} seed {seed}: {loss:.5f} in {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
