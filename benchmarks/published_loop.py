"""AdaIN-VC's published training loop in plain eager float32, against `train.py model=adain_vc_code`, in one run.

    python benchmarks/published_loop.py [--items 32] [--threads 1] [--steps 3] [--rounds 3]

The reference is the published network (9,040,512 parameters) and loop, written from their description with torch's own
layers: Adam with amsgrad, one L1 and one KL, gradients clipped at 5. Ours is the whole iteration of `train.py` (logging
left out of both), in float32 and bf16. Rounds alternate, so that a busy machine slows all; the best counts. With one
thread the time is the processor's, of which other work on the machine takes none.
"""

import argparse
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from bf16_step import bf16_instructions
from pytorch_lightning import Callback
from systems import fit, system
from torch import Tensor, nn

FEATURES, WIDTH, FRAMES = 512, 128, 128
STRIDES = (1, 2, 1, 2, 1, 2)


def now() -> float:
    """Seconds."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class Conv(nn.Conv1d):
    """Reflects what lies beyond the ends."""

    def forward(self, x: Tensor) -> Tensor:
        size = self.kernel_size[0]
        return super().forward(F.pad(x, (size // 2, (size - 1) // 2), mode="reflect") if size > 1 else x)


class Encoder(nn.Module):
    """What both encoders share; with `norm`, every convolution after the bank is normalized over time."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.bank = nn.ModuleList(Conv(FEATURES, WIDTH, size) for size in range(1, 9))
        self.first = Conv(8 * WIDTH + FEATURES, WIDTH, 1)
        self.one = nn.ModuleList(Conv(WIDTH, WIDTH, 5) for _ in STRIDES)
        self.two = nn.ModuleList(Conv(WIDTH, WIDTH, 5, stride) for stride in STRIDES)
        self.norm: nn.Module = nn.InstanceNorm1d(WIDTH) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([*(F.relu(conv(x)) for conv in self.bank), x], dim=1)
        x = F.relu(self.norm(self.first(x)))
        for one, two, stride in zip(self.one, self.two, STRIDES, strict=True):
            y = F.relu(self.norm(two(F.relu(self.norm(one(x))))))
            x = y + (F.avg_pool1d(x, stride, ceil_mode=True) if stride > 1 else x)
        return x


class Published(nn.Module):
    """Content encoder, speaker encoder, decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.content, self.speaker = Encoder(True), Encoder(False)
        self.mean, self.log_variance = Conv(WIDTH, WIDTH, 1), Conv(WIDTH, WIDTH, 1)
        self.dense = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(12))
        self.voice = nn.Linear(WIDTH, WIDTH)
        self.first, self.last = Conv(WIDTH, WIDTH, 1), Conv(WIDTH, FEATURES, 1)
        self.one = nn.ModuleList(Conv(WIDTH, WIDTH, 5) for _ in STRIDES)
        self.two = nn.ModuleList(Conv(WIDTH, WIDTH * factor, 5) for factor in STRIDES[::-1])
        self.styles = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH) for _ in range(12))
        self.norm = nn.InstanceNorm1d(WIDTH)

    def losses(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """L1 and KL of features (B, F, T)."""
        h = self.content(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        code = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        kl = 0.5 * torch.mean(torch.exp(log_variance) + mean**2 - 1 - log_variance)
        return F.l1_loss(self._decode(code, self._voice(x)), x), kl

    def _voice(self, x: Tensor) -> Tensor:
        h = self.speaker(x).mean(2)
        for one, two in zip(self.dense[::2], self.dense[1::2], strict=True):
            h = h + F.relu(two(F.relu(one(h))))
        return self.voice(h)

    def _decode(self, code: Tensor, voice: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(code)))
        for number, (one, two, factor) in enumerate(zip(self.one, self.two, STRIDES[::-1], strict=True)):
            y = F.relu(self._styled(one(x), voice, 2 * number))
            y = two(y)
            if factor > 1:  # (B, C f, T) -> (B, C, T f)
                y = y.view(len(y), WIDTH, factor, -1).transpose(2, 3).reshape(len(y), WIDTH, -1)
                x = F.interpolate(x, scale_factor=float(factor), mode="nearest")
            x = x + F.relu(self._styled(y, voice, 2 * number + 1))
        return self.last(x)

    def _styled(self, x: Tensor, voice: Tensor, number: int) -> Tensor:
        mean, deviation = self.styles[number](voice).chunk(2, dim=1)
        return self.norm(x) * deviation[:, :, None] + mean[:, :, None]


def published(items: int) -> Callable[[int], float]:
    """Seconds of the fastest of so many iterations of the published loop."""
    torch.manual_seed(0)
    model = Published()
    count = sum(p.numel() for p in model.parameters())
    assert count == 9_040_512, f"{count} parameters are not those of the published network"
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.9, 0.999), weight_decay=1e-4, amsgrad=True)
    features = torch.randn(items, FEATURES, FRAMES)

    def run(steps: int) -> float:
        times = []
        for step in range(steps):
            began = now()
            reconstruction, kl = model.losses(features)
            loss = 10 * reconstruction + min(1.0, (step + 1) / 20_000) * kl
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=5)
            optimizer.step()
            times.append(now() - began)
        return min(times)

    return run


class Clock(Callback):
    """How long iterations take, from the beginning of one to the beginning of the next."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.starts.append(now())

    def fastest(self) -> float:
        """In seconds, the first one aside."""
        return min(b - a for a, b in zip(self.starts[1:], self.starts[2:], strict=False))


def ours(items: int, precision: str) -> Callable[[int], float]:
    """The same of the loop of `train.py`."""

    def run(steps: int) -> float:
        chosen, clock = system("adain_vc_code"), Clock()
        fit(
            chosen, chosen.batch(items), steps + 2, [clock],
            gpus=None, accelerator="cpu", devices=1, precision=precision, threads=torch.get_num_threads(),
        )  # fmt: skip
        return clock.fastest()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    runs = {
        "published loop, float32": published(options.items),
        "train.py, float32": ours(options.items, "32"),
        "train.py, bf16": ours(options.items, "bf16-mixed"),
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(options.rounds):
        for name, run in runs.items():
            best[name] = min(best[name], run(options.steps))
    print(f"{options.items} crops, {options.threads} threads; CPU instructions for bf16: {bf16_instructions()}")
    reference = best["published loop, float32"]
    for name, value in best.items():
        print(f"{name:24} {value * 1000:9.0f} ms {reference / value:6.2f}x")


if __name__ == "__main__":
    main()
