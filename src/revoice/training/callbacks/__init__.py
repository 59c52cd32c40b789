"""Callbacks by name: one file each; `configs/callbacks` chooses and sets them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pytorch_lightning import Callback

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.manifest import Manifest
from revoice.registry import Registry
from revoice.training.reporter import Reporter
from revoice.vocoders.base import Vocoder


@dataclass(frozen=True)
class Run:
    """What callbacks may need to know of the run.

    Attributes:
        spec: the features.
        recordings: utterances whose files are at hand; None if none are.
        reporter: takes what is to be shown.
        vocoder: says the samples; None is Griffin-Lim.
    """

    spec: FeatureSpec
    recordings: Manifest | None
    reporter: Reporter
    max_iterations: int
    val_every: int
    vocoder: Vocoder | None = None


class CallbackFactory(Protocol):
    """A class whose instances make a Lightning callback for a run.

    What it logs may be named in a class attribute `logs`, what it watches in an attribute `monitor`: a callback that
    watches what nobody measures is refused before training starts.
    """

    def make(self, run: Run) -> Callback | list[Callback]:
        """The callback, or several that belong together."""


CALLBACKS: "Registry[CallbackFactory]" = Registry("callback", "revoice.training.callbacks", typed="callbacks.{name}")


def build_callbacks(settings: Mapping[str, Mapping[str, Any] | None], run: Run) -> list[Callback]:
    """All callbacks of `{name: settings}`; settings of null switch one off."""
    made = [CALLBACKS.build(name, values).make(run) for name, values in settings.items() if values is not None]
    return [callback for each in made for callback in (each if isinstance(each, list) else [each])]
