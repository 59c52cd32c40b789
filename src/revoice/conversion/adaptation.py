"""A copy of a model, moved a little towards one voice by training steps on the very clips that are its target.

One-shot conversion asks a network to speak with a voice after one glance at it; a voice unlike those it was trained on
then comes out as a neighbor of itself. The clip can teach more than the glance: the model rebuilds it from its own
content, and the modules that speak (`ConversionModel.adapts`) follow the gradient for a few steps, as in few-shot
speaker adaptation (Arik et al., arXiv:1802.06006). No Lightning, no files.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator
from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel
from revoice.nn.draws import Draws
from revoice.nn.tone import Tone
from revoice.settings import Count, Natural, NotNegative, Seed, checked, settings


def _as_steps(value: Any) -> Any:
    """A number stands for so many steps."""
    return value if isinstance(value, Mapping) or dataclasses.is_dataclass(value) else {"steps": value}


Steps = BeforeValidator(_as_steps)


@settings
class Adaptation:
    """How far a model is moved towards a target voice.

    Attributes:
        steps: of Adam; 0 leaves the model as it was trained: what it gains in voice, it loses in words (docs/words.md).
        rate: learning rate of the first step; it falls linearly to zero.
        crops: random crops of a target clip in each step, each as long as a training crop.
        seed: of the crops and of the random numbers that the loss draws.
    """

    steps: Natural = 0
    rate: NotNegative = 2e-3
    crops: Count = 4
    seed: Seed = 0

    @classmethod
    def of(cls, value: Any) -> "Adaptation":
        """From a setting: a number of steps, or a mapping of what to set.

        >>> Adaptation.of(0).steps, Adaptation.of({"rate": 1e-3}).steps
        (0, 0)
        """
        return checked(Annotated[cls, Steps], value, "adapt")


def require_adaptable(model: ConversionModel, how: Adaptation) -> None:
    """Refuse steps for a model that would not take them: none of its parts learns from a target's clips."""
    if how.steps and not (model.adapts and model.target == "clips"):
        able = [name for name in MODELS.names() if getattr(MODELS.get(name), "adapts", ())]
        table = " that speaks with the voices of its table" if model.adapts else ""
        raise UserError(
            f"adapt={how.steps}: a {model.name}{table} does not learn from the target's clips: leave adapt= out, or "
            f"take one that does ({', '.join(able)})"
        )


@dataclass(frozen=True)
class Voice:
    """A target voice, ready to be spoken with.

    Attributes:
        references: its clips as the model sees them, each a batch of one.
        model: the converter's model, as trained.
        moved: a copy adapted to the clips, None if there is none.
        tone: what the model's copies of the clips lack, see `nn.tone`; None: unknown.
    """

    references: list[Batch]
    model: ConversionModel
    moved: ConversionModel | None = None
    tone: Tone | None = None

    def speaker(self, share: float) -> ConversionModel:
        """The model whose weights are `share` of the way from the trained to the adapted ones."""
        if self.moved is None or share == 0.0:
            return self.model
        if share == 1.0:
            return self.moved
        mixed = copy.deepcopy(self.model)
        for own, far in zip(mixed.parameters(), self.moved.parameters(), strict=True):
            own.data.lerp_(far, share)
        return mixed


def adapted(
    model: ConversionModel, clips: Sequence[Batch], how: Adaptation, spec: FeatureSpec
) -> ConversionModel | None:
    """A copy of `model` whose `adapts` modules have learned to rebuild `clips`.

    Args:
        model: in evaluation mode; it is not changed.
        clips: of one voice, each a batch of one, as `Converter.references` returns them; those shorter than the model
            takes are left out.
        how: steps and rate.
        spec: of the features, for the hop between waveform and frames.

    Returns:
        None if there is nothing to do: no steps, a model that is not adapted, or no clip that is long enough.
    """
    usable = [clip for clip in clips if clip.features.shape[-1] >= max(model.requires.minimum, 2)]
    if not (how.steps and model.adapts and usable):
        return None
    with torch.inference_mode(False):  # whatever the caller computes in: here something learns
        return _adapted(model, [Batch.join([clip]) for clip in usable], how, spec)


def _adapted(model: ConversionModel, usable: Sequence[Batch], how: Adaptation, spec: FeatureSpec) -> ConversionModel:
    moved = copy.deepcopy(model).requires_grad_(False)
    parameters = [p for name in model.adapts for p in moved.get_submodule(name).requires_grad_(True).parameters()]
    optimizer = torch.optim.Adam(parameters, lr=how.rate)
    generator = torch.Generator().manual_seed(how.seed)
    with torch.enable_grad():
        for step in range(how.steps):
            batch = _crops(usable[step % len(usable)], moved, step, how, generator, spec.hop)
            loss = torch.stack([value for value in moved.losses(batch).values() if value.requires_grad]).sum()
            for group in optimizer.param_groups:
                group["lr"] = how.rate * (1 - step / how.steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return moved.requires_grad_(False)


def _crops(
    clip: Batch, model: ConversionModel, step: int, how: Adaptation, generator: torch.Generator, hop: int
) -> Batch:
    total, count = clip.features.shape[-1], how.crops
    size = min(model.requires.crop, total)
    starts = torch.randint(total - size + 1, (count,), generator=generator).tolist()

    def cut(values: Tensor | None, scale: int = 1) -> Tensor | None:
        if values is None:
            return None
        short = total * scale - values.shape[-1]
        whole = torch.nn.functional.pad(values, (0, short)) if short > 0 else values
        return torch.cat([whole[..., s * scale : (s + size) * scale] for s in starts])

    features = cut(clip.features)
    assert features is not None
    f0 = cut(clip.f0)
    return Batch(
        id=("target",) * count,
        features=features,
        lengths=torch.full((count,), size, device=features.device),
        f0=f0,
        voiced=None if f0 is None else f0 > 0,
        embedding=None if clip.embedding is None else clip.embedding.expand(count, -1),
        waveform=cut(clip.waveform, hop),
        reference=clip.features.expand(count, -1, -1) if model.requires.reference else None,
        draws=Draws(how.seed, step, 0, count, count),
    )
