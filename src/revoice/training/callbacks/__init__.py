"""Callbacks by name: one file each; `configs/callbacks` chooses and sets them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pytorch_lightning import Callback

from revoice.data.prepare import Prepared
from revoice.registry import Registry
from revoice.training.reporter import Reporter


@dataclass(frozen=True)
class Run:
    """What callbacks may need to know of the run."""

    prepared: Prepared
    reporter: Reporter
    max_iterations: int


class CallbackFactory(Protocol):
    """A class whose instances make a Lightning callback for a run."""

    def make(self, run: Run) -> Callback:
        """The callback."""


CALLBACKS: "Registry[CallbackFactory]" = Registry("callback", "revoice.training.callbacks")


def build_callbacks(settings: Mapping[str, Mapping[str, Any] | None], run: Run) -> list[Callback]:
    """All callbacks of `{name: settings}`; settings of null switch one off."""
    return [CALLBACKS.build(name, values).make(run) for name, values in settings.items() if values is not None]
