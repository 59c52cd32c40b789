"""Operations that torch dispatches in a training step of every preset: what a GPU's host has to do, seen on a CPU.

    python benchmarks/dispatch.py [NAME ...] [--precision 32] [--against FOLDER]

An iteration of the loop of `train.py` is counted, after two others: the losses, the backward pass, clipping and the
optimizer, and the rest (logging, finiteness, everything else); how many of all start a kernel, the others being views.
Optimizers and clipping take the forms that they take on a GPU. The count does not depend on the size of the batch.
`--against` gives the folder of another checkout, and every count is divided by its.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.utils._foreach_utils as foreach
from pytorch_lightning import Callback
from systems import fit, presets, system
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

PARTS = ("losses", "backward", "optimizer", "rest")
ITEMS, WARM = 2, 2


class Count(TorchDispatchMode):
    """Counts what is dispatched, by part and by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = True
        self.within: list[str] = ["rest"]
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.parts: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.counts:
            return func(*args, **(kwargs or {}))
        self.parts[self.within[-1]] += 1
        self.names[f"{self.within[-1]} {func}"] += 1
        self.kernels += not (func.is_view or str(func).startswith(("aten.detach", "aten._unsafe_view", "aten.alias")))
        return func(*args, **(kwargs or {}))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is dispatched here belongs to a part."""
        self.within.append(name)
        try:
            yield
        finally:
            self.within.pop()

    def around(self, name: str, function: Any) -> Any:
        """A function whose operations belong to a part."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return wrapped


class Ordinary(Callback):
    """Keeps what was counted in one iteration: after the first ones, and before the last, which says how it went."""

    def __init__(self, count: Count) -> None:
        self.count = count

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx < WARM:
            self.count.clear()
        self.count.counts = batch_idx < WARM


def counted(name: str, precision: str, overrides: list[str]) -> Count:
    """One iteration of a preset."""
    chosen, count = system(name, overrides), Count()
    chosen.model.losses = count.around("losses", chosen.model.losses)
    if hasattr(chosen.model, "play"):
        chosen.model.play = count.around("losses", chosen.model.play)
    replaced = [
        (torch.Tensor, "backward", count.around("backward", torch.Tensor.backward)),
        (torch.autograd, "grad", count.around("backward", torch.autograd.grad)),
        (torch.nn.utils, "clip_grad_norm_", count.around("optimizer", torch.nn.utils.clip_grad_norm_)),
        (foreach, "_get_foreach_kernels_supported_devices", lambda: ["cuda", "cpu"]),
        (sys.modules[Optimizer.__module__], "_get_foreach_kernels_supported_devices", lambda: ["cuda", "cpu"]),
    ]
    before = [(owner, key, getattr(owner, key)) for owner, key, _ in replaced]
    hooks = [
        register_optimizer_step_pre_hook(lambda *_: count.within.append("optimizer")),
        register_optimizer_step_post_hook(lambda *_: count.within.pop() and None),
    ]
    try:
        for owner, key, value in replaced:
            setattr(owner, key, value)
        with count:
            fit(
                chosen, chosen.batch(ITEMS), WARM + 2, [Ordinary(count)],
                gpus=None, accelerator="cpu", devices=1, precision=precision,
            )  # fmt: skip
    finally:
        for owner, key, value in before:
            setattr(owner, key, value)
        for hook in hooks:
            hook.remove()
    return count


def of_another(folder: Path, names: list[str], how: list[str]) -> dict[str, dict[str, int]]:
    """The same of another checkout, by this very program."""
    command = [sys.executable, __file__, *names, *how, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(folder.resolve() / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--precision", choices=("32", "bf16-mixed"), default="bf16-mixed")
    parser.add_argument(
        "--frames",
        type=int,
        help="of the crops: fewer are quicker, and counts are equal where no reference has to be as long",
    )
    parser.add_argument("--against", type=Path)
    parser.add_argument("--top", type=int, default=0, help="also list the most frequent operations of each preset")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    names = options.names or presets()
    cropped = [f"model.frames={options.frames}"] if options.frames else []
    how = ["--precision", options.precision, *(["--frames", str(options.frames)] if options.frames else [])]
    before = of_another(options.against, names, how) if options.against else {}
    found: dict[str, dict[str, int]] = {}
    if not options.json:
        more = ["before", "ratio"] if before else []
        print(f"{'preset':22}" + "".join(f"{each:>10}" for each in (*PARTS, "all", "kernels", *more)))
    for name in names:
        try:
            count = counted(name, options.precision, cropped)
        except Exception:
            if not options.json:
                raise
            continue  # a preset that the other checkout does not have, or cannot train
        row = {part: count.parts[part] for part in PARTS} | {"all": count.parts.total(), "kernels": count.kernels}
        found[name] = row
        if not options.json:
            then = before.get(name, {}).get("all")
            more = f"{then:10}{row['all'] / then:10.2f}" if then else ""
            print(f"{name:22}" + "".join(f"{value:10}" for value in row.values()) + more, flush=True)
        for operation, times in count.names.most_common(options.top):
            print(f"{'':22}{times:10} {operation}")
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
