"""Ends a run early without losing anything: a scheduler's signal, or the end of the time it may take."""

import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from revoice.errors import UserError, one_line
from revoice.nn.collective import processes, summed

SIGNALS = (signal.SIGTERM, getattr(signal, "SIGUSR1", signal.SIGTERM))  # what schedulers send ahead of the end
ASKED = 10  # iterations between two questions of several GPUs


def seconds_of(limit: str) -> float:
    """ "DD:HH:MM:SS" in seconds.

    >>> seconds_of("00:01:00:30")
    3630.0
    """
    parts = str(limit).split(":")
    if len(parts) != 4 or not all(part.isdecimal() and len(part) < 7 for part in parts):
        raise UserError(
            f"trainer.max_time={one_line(limit, 60)}: expected DD:HH:MM:SS, e.g. '00:08:00:00' for eight hours"
        )
    days, hours, minutes, seconds = (int(part) for part in parts)
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


class Stop(Callback):
    """Stops at the end of an iteration when a signal came or the time is over; the checkpoint callback then saves.

    Signals are those of schedulers and the first Ctrl-C; a second one ends the run at once.

    Lightning's own answers raise in the middle of things: its timer counts the time of earlier runs again after a
    resume, and its handler of SIGTERM communicates from inside the handler.

    Args:
        max_time: "DD:HH:MM:SS" from the making of this object; None is no limit.

    Attributes:
        reason: why the run was stopped; None if it was not.
        by_signal: whether a signal stopped it.
        began: whether training did, all that a checkpoint says having been taken up.
    """

    def __init__(self, max_time: str | None) -> None:
        self.until = time.monotonic() + seconds_of(max_time) if max_time is not None else float("inf")
        self.limit, self.signalled = max_time, False
        self.reason: str | None = None
        self.began = False
        # whose signals they are now: Lightning's own handlers, which come later, hold the trainer and must not stay
        self._owners: dict[int, Any] = {number: signal.getsignal(number) for number in {*SIGNALS, signal.SIGINT}}
        self._taken = False

    @property
    def by_signal(self) -> bool:
        """Whether it was a signal."""
        return self.reason is not None and self.signalled

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning."""
        self.began = True
        if threading.current_thread() is threading.main_thread():
            self._taken = True
            for number in self._owners:
                signal.signal(number, self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask all processes whether one of them must stop."""
        signalled, over = self.signalled, time.monotonic() > self.until
        if processes() > 1:
            if pl_module.device.type == "cuda" and trainer.global_step % ASKED:
                return  # the answer makes a GPU wait
            both = summed(torch.tensor([signalled, over], dtype=torch.int32, device=pl_module.device))
            signalled, over = (count > 0 for count in both.tolist())
        if not (signalled or over) or trainer.global_step >= trainer.max_steps:
            return
        self.signalled = signalled
        why = "stopped by a signal" if signalled else f"trainer.max_time={self.limit} is over"
        self.reason = f"{why} at iteration {trainer.global_step} of {trainer.max_steps}"
        trainer.should_stop = True
        trainer.limit_val_batches = 0  # the scheduler will not wait for a validation

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back: a program whose run failed must still end when it is told to."""
        self._give_back()

    def _give_back(self) -> None:
        for number, owner in self._owners.items() if self._taken else ():
            signal.signal(number, signal.SIG_DFL if owner is None else owner)
        self._taken = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.signalled:
                raise KeyboardInterrupt
            print("\nending after this iteration, and saving; Ctrl-C again: at once", file=sys.stderr, flush=True)
        self.signalled = True
