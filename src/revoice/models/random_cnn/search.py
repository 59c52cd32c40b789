"""A spectrogram that keeps the structure of one and takes the texture of others (Gatys et al., arXiv:1508.06576).

With the features of a random CNN, as in mazzzystar/randomCNN-voice-transfer: the spectrogram itself is optimized.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from revoice.errors import UserError
from revoice.models.random_cnn.features import RandomFeatures, principal
from revoice.nn.gram import GramTarget, merged

FRAMES = 512  # for which the default weights of the losses were chosen
BLOCK = 512  # frames of the style whose features are held at a time
STRIDE = 10  # iterations between two looks at whether the loss still falls


@dataclass(frozen=True)
class Style:
    """The texture to take.

    Attributes:
        axes: per layer, the combinations of channels that carry it (k, C); None: the channels themselves.
        factors: per layer, a factor (R, r) of the Gram matrix summed over all frames.
    """

    axes: list[Tensor | None]
    factors: list[Tensor]


def observe(network: RandomFeatures, styles: Sequence[Tensor], precision: float) -> Style:
    """The style of clips (F, T), of any length, in memory for one block of frames and the factors.

    Args:
        network: whose features.
        styles: at least one of them with as many frames as the network sees.
        precision: share of the channels' energy, and of the Gram matrix at every block, that may be left out; 0: none.
            See `principal` and `merged`.
    """
    axes: list[Tensor | None] = [None] * len(network.weights)
    if precision > 0.0:
        # half of it from noise: what the style lacks must be seen in a result that has it
        both = zip(_covariances(network, styles), _covariances(network, [_noise(network)]), strict=True)
        axes = [principal(one / one.trace().clamp(min=1e-30) + other / other.trace(), precision) for one, other in both]
    factors: list[list[Tensor]] = [[] for _ in axes]
    for found in blocks(network, styles):
        for held, features in zip(factors, _rows(found, axes), strict=True):
            held[:] = [merged([*held, features], precision)]
    return Style(axes, [held[0] for held in factors])


class Objective:
    """How far a spectrogram is from the content, point by point, and from the style, by Gram matrices over time.

    Args:
        network: whose features are compared.
        content: spectrogram (F, T).
        style: of the same network.
        gain: of the style's Gram matrices, which are sums over its frames (published: 1).
        per_frame: count the style loss, which grows with the frames, as if there were `FRAMES` of them.
    """

    def __init__(
        self, network: RandomFeatures, content: Tensor, style: Style, gain: float = 1.0, per_frame: bool = False
    ) -> None:
        self.network, self.axes = network, style.axes
        self.scale = FRAMES / content.shape[1] if per_frame else 1.0
        with torch.no_grad():
            self.content = network(content)
        self.targets = [GramTarget(factor * math.sqrt(gain)) for factor in style.factors]

    def __call__(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Content and style loss of a spectrogram (F, T), unweighted; the mean of the layers.

        With features (C, H, W): sum of squares / (4 C H W) and || Gram - Gram of the style ||^2 / (4 C^2 H W).
        """
        content, style = [], []
        found = self.network(spectrogram)
        for own, kept, rows, target in zip(found, self.content, _rows(found, self.axes), self.targets, strict=True):
            channels, size = len(own), own[0].numel()
            content.append(mse_loss(own, kept, reduction="sum") / (4 * channels * size))
            style.append(target.distance(rows) / (4 * channels**2 * size))
        return torch.stack(content).mean(), self.scale * torch.stack(style).mean()


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a spectrogram is optimized.

    Attributes:
        content_weight, style_weight: of the two losses.
        optimizer: "lbfgs" or "adam".
        iterations: at most so many.
        stop: end when ten iterations lower the loss by less than this share of it; 0 never ends early.
        rate: of Adam.
    """

    content_weight: float
    style_weight: float
    optimizer: str
    iterations: int
    stop: float
    rate: float


Watch = Callable[[int, float, float], None]  # iteration, content loss, style loss, unweighted


def minimize(objective: Objective, start: Tensor, how: Search, watch: Watch | None = None) -> Tensor:
    """The spectrogram (F, T) that the search ends with; `start` is not changed.

    Raises:
        UserError: the loss is no longer a number.
    """
    image = start.detach().clone().requires_grad_(True)
    seen, found, version = (math.inf, math.inf), torch.zeros(()), -1

    def total() -> Tensor:
        nonlocal seen, found, version
        if image._version == version:  # asked again where it was
            return found
        image.grad = None
        content, style = objective(image)
        loss = how.content_weight * content + how.style_weight * style
        loss.backward()
        seen, found, version = (float(content.detach()), float(style.detach())), loss.detach(), image._version
        return found

    with torch.enable_grad():
        before = math.inf
        for iteration, loss in _steps(image, total, how):
            if watch:
                watch(iteration, *seen)
            if not math.isfinite(loss):
                wrong = f"rate={how.rate:g} is too high" if how.optimizer == "adam" else "other weights may help"
                raise UserError(f"the loss is {loss} after {iteration} iterations of {how.optimizer}: {wrong}")
            if how.stop and before - loss <= how.stop * loss:
                break
            before = loss
    return image.detach()


def _steps(image: Tensor, total: Callable[[], Tensor], how: Search) -> Iterator[tuple[int, float]]:
    """(iterations done, loss) after every `STRIDE` iterations."""
    done = 0
    if how.optimizer == "adam":
        adam = torch.optim.Adam([image], lr=how.rate)
        while done < how.iterations:
            for _ in range(min(STRIDE, how.iterations - done)):
                loss = adam.step(total)
                done += 1
            yield done, float(loss)
        return
    lbfgs = torch.optim.LBFGS(
        [image], history_size=20, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    while done < how.iterations:
        size = min(STRIDE, how.iterations - done)
        lbfgs.param_groups[0].update(max_iter=size, max_eval=4 * size)
        lbfgs.step(total)
        done += size
        yield done, float(total())


def _rows(found: Sequence[Tensor], axes: Sequence[Tensor | None]) -> list[Tensor]:
    """Features (C, F', T') of each layer -> (k F', T') of the combinations of channels that are kept."""
    kept = (f if a is None else (a @ f.flatten(1)).view(-1, *f.shape[1:]) for f, a in zip(found, axes, strict=True))
    return [features.flatten(0, 1) for features in kept]


def _covariances(network: RandomFeatures, clips: Sequence[Tensor]) -> list[Tensor]:
    """Per layer, of the channels (C, C), float64."""
    sums = [torch.zeros(len(w), len(w), dtype=torch.float64, device=w.device) for w in network.weights]
    for found in blocks(network, clips):
        for total, features in zip(sums, found, strict=True):
            flat = features.flatten(1)
            total += flat @ flat.T
    return sums


def _noise(network: RandomFeatures) -> Tensor:
    """Magnitudes (F, T) without any structure, always the same."""
    height, width = network.field
    noise = torch.randn(height + 63, width + 255, generator=torch.Generator().manual_seed(0)).abs()
    return noise.to(network.weights[0].device)


@torch.no_grad()
def blocks(network: RandomFeatures, clips: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Features (C, F', t) of each layer of clips (F, T), so many frames at a time, every frame of every layer once.

    Clips shorter than the network sees are left out.
    """
    edge = network.field[1] - 1
    for clip in clips:
        for first in range(0, clip.shape[1] - edge, BLOCK):
            found = network(clip[:, first : first + BLOCK + edge])
            # shallow layers see frames at a block's beginning that they saw at the end of the last one
            yield [f[..., f.shape[2] - found[-1].shape[2] :] if first else f for f in found]
