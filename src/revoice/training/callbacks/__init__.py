"""Callbacks by name: one file each; `configs/callbacks` chooses and sets them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pytorch_lightning import Callback

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError, choices
from revoice.registry import Registry
from revoice.trainable import Trainable
from revoice.training.reporter import Reporter
from revoice.vocoders.base import Vocoder


@dataclass(frozen=True)
class Run:
    """What callbacks may need to know of the run.

    Attributes:
        spec: the features.
        recordings: utterances whose files are at hand; None if none are.
        reporter: takes what is to be shown.
        model: that learns.
        logged: names of all that is logged of losses, see `check_plan`.
        vocoder: says the samples; None is Griffin-Lim.
    """

    spec: FeatureSpec
    recordings: Manifest | None
    reporter: Reporter
    model: Trainable
    logged: Sequence[str]
    max_iterations: int
    val_every: int
    vocoder: Vocoder | None = None


class CallbackFactory(Protocol):
    """A class whose instances make a Lightning callback for a run.

    What it logs may be given by a method `logs(kind, model)`: of a class of models, and of one of them where that is
    known already. What it watches is an attribute `monitor`: a callback that watches what nobody measures is refused
    before training starts.
    """

    def make(self, run: Run) -> Callback | list[Callback]:
        """The callback, or several that belong together."""


CALLBACKS: "Registry[CallbackFactory]" = Registry("callback", "revoice.training.callbacks", typed="callbacks.{name}")


def measured_by(
    made: Mapping[str, CallbackFactory], logged: Sequence[str], kind: type[Trainable], model: Trainable | None = None
) -> list[str]:
    """What is logged, with what the callbacks log; arguments as in `check_monitors`."""
    return [*logged, *(name for each in made.values() if hasattr(each, "logs") for name in each.logs(kind, model))]


def check_monitors(
    made: Mapping[str, CallbackFactory], logged: Sequence[str], kind: type[Trainable], model: Trainable | None = None
) -> None:
    """Refuse a callback that watches what is not measured of a model of this kind.

    Args:
        made: callbacks by name.  logged: what is measured without them.
        kind: of the model.  model: itself, or a sketch of it; None where it is not known yet.

    Raises:
        UserError: there is one.
    """
    measured = measured_by(made, logged, kind, model)
    for name, each in made.items():
        monitor = getattr(each, "monitor", None)
        if monitor == "val/loss" and monitor not in measured:
            raise UserError(
                f"callbacks.{name}.monitor=val/loss says nothing where no loss of the model's own has a weight in the "
                f"end: choose another, {', '.join(each for each in measured if not each.startswith('train/'))}"
            )
        if monitor is not None and monitor not in measured:
            raise choices(monitor, measured, f"callbacks.{name}.monitor")


def build_callbacks(settings: Mapping[str, Mapping[str, Any] | None], run: Run) -> list[Callback]:
    """All callbacks of `{name: settings}`; settings of null switch one off.

    Raises:
        UserError: one of them watches what the others, as they are in this run, do not measure.
    """
    factories = {name: CALLBACKS.build(name, values) for name, values in settings.items() if values is not None}
    made = {name: factory.make(run) for name, factory in factories.items()}
    here = {name: factory for name, factory in factories.items() if made[name] != []}
    check_monitors(here, run.logged, type(run.model), run.model)
    return [callback for each in made.values() for callback in (each if isinstance(each, list) else [each])]
