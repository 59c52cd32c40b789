"""Systems at their published sizes and settings, with made-up batches, for the benchmarks to train."""

import inspect
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pytorch_lightning import Callback, Trainer
from torch import Tensor
from torch.nn.functional import normalize

from revoice.audio.presets import config_dir
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import Description
from revoice.data.read.batch import Batch
from revoice.models.base import MODELS
from revoice.nn.draws import Draws
from revoice.training.module import VoiceModule
from revoice.training.trainer import build_trainer, settings_of
from revoice.vocoders.base import VOCODERS

SPEAKERS = 109
VOCODER_PRESETS = ("vocos", "vocos_small", "source_filter")


@dataclass(frozen=True)
class System:
    """A preset: its whole config, its features, and the network with random weights."""

    config: dict[str, Any]
    spec: FeatureSpec
    model: Any

    @property
    def items(self) -> int:
        """Of the published batch."""
        return int(self.config["data"]["batch_size"])

    def batch(self, items: int, step: int = 0) -> Batch:
        """Noise of the shapes that a training batch of this system has."""
        draw, requires = torch.Generator().manual_seed(step), self.model.requires
        channels, frames = self.spec.channels, requires.frames
        made: dict[str, Tensor] = {
            "features": torch.randn(items, channels, frames, generator=draw),
            "lengths": torch.full((items,), frames),
            "f0": 120 + 40 * torch.rand(items, frames, generator=draw),
            "voiced": torch.ones(items, frames, dtype=torch.bool),
            "embedding": normalize(torch.randn(items, 256, generator=draw), dim=1),
            "speaker": torch.arange(items) % SPEAKERS,
            "waveform": 0.1 * torch.randn(items, frames * self.spec.hop, generator=draw),
            "phones": torch.full((items, frames), -1),
        }
        if "content" in requires.fields:
            made["content"] = torch.randn(items, self.model.content.channels, frames, generator=draw)
        if any(label.startswith("paired:") for label in requires.fields):
            made["paired"] = torch.randn(items, 2 * channels, frames, generator=draw)  # two copies
        if requires.reference:
            made["reference"] = torch.randn(items, channels, requires.reference, generator=draw)
        return Batch(id=("",) * items, draws=Draws(0, step, 0, items, items), **made)


def presets() -> list[str]:
    """Everything that `train.py` trains by losses of its own on features, vocoders by themselves."""
    names = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
    others = ("random_cnn", "voicegan", "codegan", "anonymizer")
    return [name for name in names if not name.startswith(others)] + list(VOCODER_PRESETS)


def system(name: str, overrides: Sequence[str] = ()) -> System:
    """A preset by name, with settings as on the command line."""
    which = [f"vocoder={name}"] if name in VOCODER_PRESETS else [f"model={name}"]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config: Any = OmegaConf.to_container(compose("train", [*which, *overrides]), resolve=True)
    spec = FeatureSpec.from_dict(config["features"])
    registry, group = (VOCODERS, "vocoder") if name in VOCODER_PRESETS else (MODELS, "model")
    values = {key: value for key, value in config[group].items() if key not in ("name", "ckpt")}
    facts = {
        "n_features": spec.channels, "n_speakers": SPEAKERS, "spec": spec, "sample_rate": spec.sample_rate,
        "hop": spec.hop,
    }  # fmt: skip
    torch.manual_seed(0)
    kind: Any = config[group]["name"]
    model: Any = registry.build(kind, registry.arguments(kind, values, facts))  # type: ignore[attr-defined]
    model.set_features(spec)
    return System(config, spec, model.train())


def _schedule(config: dict[str, Any]) -> Any:
    from revoice.settings import checked  # as `schedule` below, not there before there were parts
    from revoice.training.schedule import Phases

    return checked(Phases | None, config.get("schedule"), "schedule")


def module_of(chosen: System, iterations: int, graph: bool | None = False) -> VoiceModule:
    """What `train.py` would give to Lightning; of this commit or of one from before there were parts."""
    config, known = chosen.config, inspect.signature(VoiceModule).parameters
    more = {
        "critics": {key: how for key, how in (config.get("critics") or {}).items() if how},
        "clip": config["trainer"]["clip"],
        "graph": graph,
    }
    if "schedule" in known:
        more["schedule"] = _schedule(config)
    description = Description(model="benchmark", arguments={}, features={})
    given = {key: value for key, value in more.items() if key in known}
    return VoiceModule(chosen.model, description, config["loss"], config["optimizer"], iterations, 0, **given)


class Loader:
    """The same batch for ever, as one micro-batch, with new draws in every iteration."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.in_turns = batch, hasattr(VoiceModule, "networks")

    def __iter__(self) -> Iterator[Any]:
        step = 0
        while True:
            fields = {**vars(self.batch), "draws": Draws(0, step, 0, len(self.batch), len(self.batch))}
            yield [Batch(**fields)] if self.in_turns else Batch(**fields)
            step += 1


def fit(
    chosen: System, batch: Batch, iterations: int, callbacks: Sequence[Callback] = (), **trainer: Any
) -> tuple[Trainer, VoiceModule]:
    """Train in the loop of `train.py`, without its data, loggers and checkpoints."""
    settings = settings_of({**chosen.config["trainer"], "val_every": 10**6, **trainer})
    module = module_of(chosen, iterations, trainer.get("graph", False))
    with tempfile.TemporaryDirectory() as folder:
        made = build_trainer(settings, iterations, Path(folder), [], callbacks)
        made.fit(module, Loader(batch))
    return made, module
