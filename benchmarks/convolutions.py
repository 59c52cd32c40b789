"""What convolutions over time cost on a CPU: alone, as matrix products, and within a training step.

    python benchmarks/convolutions.py [--items 16]

Billions of operations (a multiplication and an addition are two) a second of one thread, by the processor's time, which
other work on the machine takes little of; forward and backward together, the best of several.
"""

import argparse
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from bf16_step import bf16_instructions
from pytorch_lightning import Callback
from systems import fit, system
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FRAMES, TRIES, WARM, STEPS = 128, 7, 2, 3
SHAPES = ((512, 128, 8), (512, 128, 3), (1536, 128, 1), (128, 512, 1), (128, 128, 5))  # in, out, kernel: AdaIN-VC's


def best(work: Callable[[], Any]) -> float:
    """Seconds of the fastest try."""
    times = []
    for _ in range(TRIES):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def as_product(x: Tensor, weight: Tensor) -> Tensor:
    """The same as `F.conv1d`: windows (B T, in kernel) times the kernel as a matrix."""
    windows = x.transpose(1, 2).contiguous().unfold(1, weight.shape[2], 1)  # (B, T, in, kernel)
    made = windows.flatten(2).flatten(0, 1) @ weight.flatten(1).T
    return made.view(len(x), -1, len(weight)).transpose(1, 2)


def alone(items: int) -> None:
    """A table of single layers."""
    print(
        f"{'in, out, kernel':16}"
        + "".join(f"{p + ' ' + w:>18}" for p in ("float32", "bf16") for w in ("conv", "matrix"))
    )
    for width, out, kernel in SHAPES:
        row = []
        for kind in (torch.float32, torch.bfloat16):
            x = torch.randn(items, width, FRAMES + kernel - 1, dtype=kind, requires_grad=True)
            weight = torch.randn(out, width, kernel, dtype=kind, requires_grad=True)
            up = torch.randn(items, out, FRAMES, dtype=kind)
            operations = 3 * 2 * items * FRAMES * width * out * kernel
            for make in (F.conv1d, as_product):
                row.append(operations / best(lambda f=make: torch.autograd.grad(f(x, weight), [x, weight], up)) / 1e9)  # noqa: B023
        print(f"{f'{width}, {out}, {kernel}':16}" + "".join(f"{value:18.0f}" for value in row), flush=True)


class Clock(TorchDispatchMode, Callback):
    """Processor time of all operations of some iterations, and what convolutions have to do in them."""

    def __init__(self) -> None:
        super().__init__()
        self.counts, self.seconds, self.operations = False, Counter[str](), 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.counts = batch_idx >= WARM

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        began = time.process_time()
        found = func(*args, **(kwargs or {}))
        if self.counts:
            name = str(func)
            self.seconds["convolutions" if name.startswith("aten.convolution") else "all else"] += (
                time.process_time() - began
            )
            if name == "aten.convolution.default":
                self.operations += 2 * found.numel() * args[1][0].numel()
            elif name == "aten.convolution_backward.default":
                self.operations += 2 * args[0].numel() * args[2][0].numel() * sum(args[10][:2])
        return found


def within(items: int) -> None:
    """The share of convolutions in a step."""
    for precision in ("32", "bf16-mixed"):
        chosen, clock = system("adain_vc_code"), Clock()
        with clock:
            fit(
                chosen, chosen.batch(items), WARM + STEPS, [clock],
                gpus=None, accelerator="cpu", devices=1, precision=precision, threads=1,
            )  # fmt: skip
        took, total = clock.seconds["convolutions"], clock.seconds.total()
        print(
            f"a step of adain_vc_code, {precision}: {total / STEPS * 1000:.0f} ms, "
            f"{took / total:.0%} of it convolutions at {clock.operations / took / 1e9:.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=16)
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"{options.items} crops of {FRAMES} frames; CPU instructions for bf16: {bf16_instructions()}")
    alone(options.items)
    within(options.items)


if __name__ == "__main__":
    main()
