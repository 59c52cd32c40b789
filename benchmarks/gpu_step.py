"""Training steps of every system at its published batch, by precision: time, kernels, how busy the GPU is, memory.

    python benchmarks/gpu_step.py [NAME ...] [--modes float32 tf32 bf16 compiled] [--items N] [--steps N]

A step is what `train.py` does in an iteration (losses, backward, clipping, optimizer), one after the other; the loop is
the same in Lightning's hands, from batches that lie on the device already. Without a GPU the columns of one stay empty.
"""

import argparse
import logging
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Callback
from systems import fit, system

SYSTEMS = ("adain_vc", "adain_vc_code", "vqvae", "vqvae_zerospeech", "recsyn", "vocos")
MODES = {  # settings of the trainer, and of products in float32
    "float32": ({"precision": "32"}, "highest"), "tf32": ({"precision": "32"}, "high"),
    "bf16": ({"precision": "bf16-mixed"}, "high"), "compiled": ({"precision": "bf16-mixed"}, "high"),
}  # fmt: skip
WARM = 5


class Measure(Callback):
    """Times the loop, then steps by themselves, and on a GPU looks at some of them with torch's profiler."""

    def __init__(self, steps: int, products: str) -> None:
        self.steps, self.products = steps, products
        self.loop = self.step = self.kernels = self.working = 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        torch.set_float32_matmul_precision(self.products)
        torch.backends.cudnn.allow_tf32 = self.products != "highest"

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == WARM - 1:
            wait()
            self.began = time.perf_counter()
        if batch_idx == WARM + self.steps - 1:
            wait()
            self.loop = self.steps / (time.perf_counter() - self.began)
            self._by_itself(trainer, pl_module, batch)

    def _by_itself(self, trainer: Any, module: Any, batch: Any) -> None:
        with trainer.precision_plugin.train_step_context():
            began = time.perf_counter()
            for number in range(self.steps):
                module.training_step(batch, number)
            wait()
            self.step = (time.perf_counter() - began) / self.steps
            if torch.cuda.is_available():
                self._profile(module, batch)

    def _profile(self, module: Any, batch: Any) -> None:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for number in range(3):
                module.training_step(batch, number)
            wait()
        events = [event for event in profile.key_averages() if event.self_device_time_total > 0]
        self.kernels = sum(event.count for event in events) / 3
        self.working = sum(event.self_device_time_total for event in events) / 3 / 1e6


def wait() -> None:
    """Until a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measured(name: str, mode: str, items: int | None, steps: int, overrides: Sequence[str] = ()) -> str:
    """A line of the table."""
    chosen = system(name, overrides)
    settings, products = MODES[mode]
    if mode == "compiled":
        for child in chosen.model.children():
            child.compile()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    measure, count = Measure(steps, products), items or chosen.items
    where = {"gpus": None, "accelerator": device, "devices": 1}
    fit(chosen, chosen.batch(count).to(device), WARM + steps, [measure], **where, **settings)
    line = f"{name:18} {mode:9}{count:6}{measure.step * 1000:10.2f}{measure.loop:10.1f}"
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**30
        line += f"{measure.kernels:10.0f}{measure.working / measure.step:8.0%}{memory:8.2f}"
    return line


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--items", type=int, help="of a batch; by default as published")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--set", nargs="*", default=[], help="settings as for train.py, e.g. model.frames=64")
    options = parser.parse_args(arguments)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads")
    columns = f"{'system':18} {'mode':9}{'items':>6}{'ms/step':>10}{'loop it/s':>10}"
    print(columns + (f"{'kernels':>10}{'busy':>8}{'GiB':>8}" if torch.cuda.is_available() else ""))
    for name in options.names:
        for mode in options.modes:
            print(measured(name, mode, options.items, options.steps, options.set), flush=True)


if __name__ == "__main__":
    main()
