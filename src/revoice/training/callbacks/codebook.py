"""How much of its codebook a model with a quantizer uses."""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer

from revoice.evaluation.pictures import new_figure, to_png
from revoice.nn.quantizer import Quantizer
from revoice.trainable import Trainable
from revoice.training.callbacks import CALLBACKS, Run
from revoice.training.module import VoiceModule
from revoice.training.reporter import Reporter


@CALLBACKS.register("codebook")
class Codebook:
    """At every validation: `codebook/usage`, the share of codes used in training since the last one, and a picture.

    Models without a quantizer are left alone.
    """

    def logs(self, kind: type[Trainable], model: Trainable | None) -> tuple[str, ...]:
        """One share for each quantizer; before the model is known, that of a model with one."""
        return ("codebook/usage",) if model is None else tuple(f"{label}/usage" for label in quantizers(model))

    def make(self, run: Run) -> Callback:
        """Every process logs the share, the first one draws."""
        return _Codebook(run.reporter)


class _Codebook(Callback):
    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.used: dict[str, torch.Tensor] = {}  # by label, equal in all processes

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note before an average of the weights, whose counts are averages too, takes the model's place."""
        for label, quantizer in quantizers(cast(VoiceModule, pl_module).model).items():
            self.used[label] = quantizer.used.clone()
            quantizer.used.zero_()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        for label, used in self.used.items():
            if bool(used.any()):
                pl_module.log(f"{label}/usage", (used > 0).float().mean(), sync_dist=True)
                if trainer.is_global_zero:
                    self.reporter.image(label.replace("/", "_"), draw(used), trainer.global_step)


def quantizers(model: Trainable) -> dict[str, Quantizer]:
    """Those of a model, by what they are called in the logs."""
    found = {name: part for name, part in model.named_modules() if isinstance(part, Quantizer)}
    return {"codebook" if name == "quantizer" else f"codebook/{name}": part for name, part in found.items()}


def draw(used: torch.Tensor) -> bytes:
    """PNG of how often each code (K,) was used, the most used first."""
    from matplotlib.collections import PolyCollection

    counts = np.sort(used.cpu().numpy())[::-1]
    uses = counts / counts.sum() * len(counts)
    figure = new_figure(7.0, 3.0, "white")
    axes = figure.add_axes((0.1, 0.17, 0.87, 0.73))
    # the pixels of `axes.bar`, which takes five times as long: it adds the bars one by one
    axes.add_collection(PolyCollection(list(_bars(uses)), facecolors="C0", edgecolors="none", linewidths=0))
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set(
        title=f"{(counts > 0).sum()} of {len(counts)} codes used",
        xlabel="codes, the most used first", ylabel="uses (1: as all are on average)",
        xlim=(-0.5, len(counts) - 0.5), ylim=(0.0, 1.05 * uses.max()),
    )  # fmt: skip
    return to_png(figure)


def _bars(heights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Corners (K, 4, 2) of bars of width 1 around 0, 1, ..."""
    left = np.arange(len(heights)) - 0.5
    ground = np.zeros(len(heights))
    corners = [(left, ground), (left + 1, ground), (left + 1, heights), (left, heights)]
    return np.array(corners).transpose(2, 0, 1)  # (4, 2, K) -> (K, 4, 2)
