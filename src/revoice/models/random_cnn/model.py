"""Random-CNN voice style transfer: two clips, no training (mazzzystar/randomCNN-voice-transfer)."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.mistakes import LARGEST
from revoice.models.base import MODELS, Controls, IteratingModel, Progress, Requires
from revoice.models.random_cnn.features import Channels, KernelSize, Layers, LeftOut, RandomFeatures, kernel_size
from revoice.models.random_cnn.search import Objective, Search, Style, minimize, observe
from revoice.settings import Count, NotNegative, Positive, Share, Whole, Width, settings

SILENT = 1e-4  # largest feature of a window that is left as it is
# steps of Adam are too small to tell its end from its beginning: as many as published
BY_OPTIMIZER = {"lbfgs": {"iterations": 300, "stop": 3e-3}, "adam": {"iterations": 20000, "stop": 0.0}}


@settings
class TransferControls(Controls):
    """How a spectrogram is sought.

    Attributes:
        content_weight, style_weight: of the two losses (published: 100 and 1).
        normalize: what of the style must not matter: its "energy" (duration, pauses and loudness), its "duration", or
            "nothing" as published; but for the last, the style loss is counted per frame.
        optimizer: "lbfgs", or "adam" as published.
        iterations: at most so many; None is 300, and 20000 for Adam as published.
        stop: end when ten iterations lower the loss by less than this share of it; 0 never ends early. None is 3e-3,
            and 0 for Adam.
        rate: of Adam (published: 1e-3).
        start: "content", "noise" as published, or "style": the content's energy with the mean spectrum of the style.
        phase: what Griffin-Lim starts from: "random", or the phases of the "content".
        seed: of the network's weights and of the noise.
        window: frames that are optimized at once; longer clips are done window by window.
        precision: share of the features' energy that may be left out for speed; 0 leaves nothing out.
    """

    content_weight: NotNegative = 100.0
    style_weight: NotNegative = 1.0
    normalize: Literal["energy", "duration", "nothing"] = "energy"
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    iterations: Count | None = None
    stop: NotNegative | None = None
    rate: Positive = 1e-3
    start: Literal["noise", "content", "style"] = "content"
    phase: Literal["random", "content"] = "random"
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = 0
    window: Annotated[Whole, Field(ge=16, le=LARGEST)] = 512
    precision: LeftOut = 1e-5

    def __post_init__(self) -> None:
        for name, value in BY_OPTIMIZER[self.optimizer].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)


@MODELS.register("random_cnn")
class RandomCNN(IteratingModel):
    """A spectrogram is optimized until a frozen random CNN sees the content's structure and the target's texture.

    Args:
        n_features: F, rows of the spectrogram.
        kernel: frequencies x frames (published: "3x1"); one of several frames takes more of the target.
        channels: of every layer (published: 32).
        layers: one as published; of several, the losses are averaged.
        slope: of the leaky ReLU.
    """

    trained: ClassVar[bool] = False
    together: ClassVar[bool] = False  # every clip is a search of its own
    preset: ClassVar[str] = "log1p_22k"
    scales: ClassVar[tuple[str, ...]] = ("log1p", "linear")  # silence is 0, and nothing is below
    Controls = TransferControls

    def __init__(
        self,
        n_features: Width,
        kernel: KernelSize = "5x5",
        channels: Channels = 8,
        layers: Layers = 1,
        slope: Share = 0.2,
    ) -> None:
        super().__init__()
        self.n_features, self.channels, self.layers, self.slope = n_features, channels, layers, slope
        self.kernel = kernel_size(kernel)
        self.height, self.width = (1 + layers * (size - 1) for size in self.kernel)
        if self.height > n_features:
            raise UserError(
                f"model.kernel={kernel} with {layers} layers sees {self.height} rows, a spectrogram has {n_features}"
            )
        self.requires = Requires(fields=("features", "waveform"), frames=self.width, minimum=self.width)
        self._last: tuple[_Seen, int, float] | None = None

    def network(self, seed: int, device: torch.device | str = "cpu") -> RandomFeatures:
        """The frozen network of a seed."""
        return RandomFeatures.draw(seed, self.channels, self.kernel, self.layers, self.slope, device)

    def convert(self, source: Batch, targets: list[Batch], controls: TransferControls) -> Tensor:
        """Features (B, F, T) with the structure of `source`, item after item, and the texture of all `targets`."""
        device = source.features.device
        where = torch.device("cpu") if device.type == "mps" else device  # which has no float64
        with torch.inference_mode(False), torch.no_grad():
            contents = [_padded(item, self.width) for item in source.features.to(where).clone()]
            style, clips = self._style([target.features for target in targets], controls, where)
            found = torch.stack([self._transfer(content, style, clips, controls) for content in contents])
            return found[..., : source.features.shape[-1]].to(device)

    def _transfer(self, content: Tensor, style: Style, clips: list[Tensor], controls: TransferControls) -> Tensor:
        network, start = self.network(controls.seed, content.device), _start(content, clips, controls)
        how = Search(**{field.name: getattr(controls, field.name) for field in fields(Search)})
        made, loud = torch.zeros_like(content), float(content.square().sum())
        gain, per_frame = _gain(content, clips, controls.normalize), controls.normalize != "nothing"
        spans = _windows(content.shape[1], controls.window, self.width)
        tail = 0  # where the window before ends
        for number, (first, last) in enumerate(spans):
            part = content[:, first:last]
            found = part
            if float(part.max()) > SILENT:  # a window takes as much of the style as it holds of the content
                share = float(part.square().sum()) / loud
                objective = Objective(network, part, style, gain * share, per_frame)
                found = minimize(objective, start[:, first:last], how, self._watcher(number, len(spans), how))
            fade = torch.ones(last - first, device=content.device)
            if first < tail:
                fade[: tail - first] = torch.linspace(0.0, 1.0, tail - first + 2, device=content.device)[1:-1]
            made[:, first:last] = made[:, first:last] * (1.0 - fade) + found * fade
            tail = last
        return made.clamp(min=0.0)

    def _style(
        self, targets: list[Tensor], controls: TransferControls, device: torch.device
    ) -> tuple[Style, list[Tensor]]:
        """The style of clips (1, F, T) and the clips (F, T); kept, since one target is mostly asked for again."""
        last = self._last
        if last is None or last[1:] != (controls.seed, controls.precision) or not _same(last[0].of, targets):
            clips = [_padded(target[0].to(device).clone(), self.width) for target in targets]
            style = observe(self.network(controls.seed, device), clips, controls.precision)
            last = self._last = _Seen(list(targets), clips, style), controls.seed, controls.precision
        return last[0].style, last[0].clips

    def keeps_phase(self, controls: TransferControls) -> bool:
        """Whether the waveform is sought from the source's phases."""
        return controls.phase == "content"

    def _watcher(self, part: int, parts: int, how: Search) -> Callable[[int, float, float], None] | None:
        watch = self.watch
        if watch is None:
            return None
        return lambda iteration, content, style: watch(
            Progress(part, parts, iteration, how.iterations, {"content": content, "style": style})
        )


@dataclass(frozen=True)
class _Seen:
    """Clips as they were given, as they were used, and their style."""

    of: list[Tensor]
    clips: list[Tensor]
    style: Style


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _padded(features: Tensor, least: int) -> Tensor:
    """At least so many frames: silence follows."""
    return torch.nn.functional.pad(features, (0, max(0, least - features.shape[1])))


def _gain(content: Tensor, styles: list[Tensor], normalize: str) -> float:
    if normalize == "nothing":
        return 1.0
    if normalize == "duration":
        return content.shape[1] / sum(style.shape[1] for style in styles)
    energy = sum(float(style.square().sum()) for style in styles)
    return float(content.square().sum()) / max(energy, 1e-12)


def _start(content: Tensor, styles: list[Tensor], controls: TransferControls) -> Tensor:
    if controls.start == "content":
        return content
    if controls.start == "style":
        mean = torch.cat(styles, dim=1).mean(dim=1, keepdim=True)
        level = content.mean(dim=0, keepdim=True) / mean.mean().clamp(min=1e-8)
        return mean * level
    noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(controls.seed))
    return (1e-3 * noise).to(content.device)


def _windows(frames: int, size: int, least: int) -> list[tuple[int, int]]:
    """(first, last) of windows of about `size` frames that overlap by an eighth; one if the clip is hardly longer.

    >>> _windows(100, 80, 1), _windows(130, 80, 1)
    ([(0, 100)], [(0, 70), (60, 130)])
    """
    size = max(size, 8 * least)
    if frames <= 1.25 * size:
        return [(0, frames)]
    shared = size // 8
    count = -(-(frames - shared) // (size - shared))
    step = (frames - shared) / count
    return [(round(i * step), round((i + 1) * step) + shared) for i in range(count)]
