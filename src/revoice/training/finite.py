"""Whether the numbers of a run still are numbers."""

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from revoice.errors import UserError
from revoice.nn.collective import summed

WAITS = ("cuda", "mps")  # devices that stand still while somebody asks for a value
EVERY = 50  # iterations: how often it is asked there


class Finite:
    """Remembers whether anything that it has seen was NaN or infinite."""

    def __init__(self) -> None:
        self._sum = torch.zeros(())

    def see(self, value: Tensor) -> None:
        """Look at a scalar, without waiting for it: 0 times NaN or infinity is NaN, and a sum with NaN stays so."""
        self._sum = torch.add(self._sum.to(value.device), value.detach(), alpha=0)

    def see_weights(self, weights: Iterable[Tensor]) -> None:
        """Look at tensors of any shapes."""
        whole = torch.stack([torch.isfinite(each).all() for each in weights]).all()
        self.see(torch.where(whole, 0.0, torch.nan))

    def looks(self, iteration: int) -> bool:
        """Whether it is time to ask: always, but for devices that would have to be waited for."""
        return self._sum.device.type not in WAITS or iteration % EVERY == 0

    def require(self, iteration: int, folder: str | Path) -> None:
        """Stop a run that saw what is no number.

        Args:
            iteration: of the run, for the message.
            folder: of the run, whose last good checkpoint is named.

        Raises:
            UserError: something was NaN or infinite.
        """
        if not math.isnan(self._sum):
            return
        last = Path(folder) / "checkpoints" / "last.ckpt"
        resume = (
            f"go on from the last good checkpoint with ckpt_path={last}"
            if last.is_file()
            else "no checkpoint was saved yet"
        )
        raise UserError(
            f"the loss became NaN or infinite at or before iteration {iteration}: try a lower optimizer.lr; {resume}"
        )

    def require_everywhere(self, iteration: int, folder: str | Path) -> None:
        """The same of all processes together, which ask at the same iterations."""
        if self.looks(iteration):
            self._sum = summed(self._sum)
            self.require(iteration, folder)
