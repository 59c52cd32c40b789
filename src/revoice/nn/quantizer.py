"""Vector quantization (van den Oord, Vinyals, Kavukcuoglu, arXiv:1711.00937) and what keeps its codebook alive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.nn.collective import gathered, summed
from revoice.nn.draws import Draws
from revoice.settings import Count, Fraction, NotNegative, Positive, Whole, Width, settings

_LLOYD = 10  # rounds of k-means at the start


@settings
class QuantizerSize:
    """Settings of a `Quantizer`.

    Attributes:
        codebook_size: K.  dim: D.
        groups: vectors are cut into so many parts, each with a codebook of its own (product quantization, as in
            vq-wav2vec, arXiv:1910.05453): K ** groups combinations.
        learn: "ema": codes are moving averages of the vectors they stand for (van den Oord et al., appendix A.1);
            "loss": they follow the gradient of the codebook loss.
        decay: of the moving averages.
        eps: Laplace smoothing of the counts: N <- (N + eps) / (n + K eps) n.
        init: "kmeans" of the first batch, "uniform" in +-1/K, "normal".
        metric: "euclidean" or "cosine" (vectors and codes on the unit sphere).
        restart: a code that stands for fewer vectors per batch than this, on average, becomes a vector of the batch; 0:
            codes may die.
        jitter: chance that a code takes the place of its neighbor in time, in training (Chorowski et al.,
            arXiv:1901.08810); half of it to each side.
    """

    codebook_size: Annotated[Whole, Field(ge=2, le=1 << 20)] = 256
    dim: Width = 64
    groups: Count = 1
    learn: Literal["ema", "loss"] = "ema"
    decay: Fraction = 0.99
    eps: Positive = 1e-5
    init: Literal["kmeans", "uniform", "normal"] = "kmeans"
    metric: Literal["euclidean", "cosine"] = "euclidean"
    restart: NotNegative = 0.1
    jitter: Fraction = 0.0


@dataclass(frozen=True)
class Quantized:
    """What a quantizer makes of vectors (B, D, T).

    Attributes:
        codes: (B, T) int64, (B, T, G) of G > 1 groups.
        values: (B, D, T), the codes' vectors, with the gradient of what was quantized (straight-through).
        codebook: mean squared distance that moves the codes (without gradient where they are moving averages).
        commitment: mean squared distance that moves the encoder.
        perplexity: exp of the entropy of the batch's codes (a mean over groups), of all processes together in training.
    """

    codes: Tensor
    values: Tensor
    codebook: Tensor
    commitment: Tensor
    perplexity: Tensor


class Quantizer(nn.Module):
    """Replaces vectors by the nearest of K codes, in float32 whatever the precision of the step.

    In training on CUDA the products of vectors and codes are those of TF32 (`torch.set_float32_matmul_precision`), with
    10 bits of mantissa: of codes that are nearly equally far either may be taken.

    Each of G groups of D / G channels has K codes of its own: codebook and counts hold the groups' G K codes one
    after another. All that is counted is counted over all processes, so that every process keeps the same codebook.

    Attributes:
        follows: in training, codes follow what they stand for "now", "later" (when `settle` is called, what the batches
            since then brought together counting as one) or "never".
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor
    used: Tensor
    first: Tensor

    def __init__(self, size: QuantizerSize) -> None:
        super().__init__()
        self.follows: Literal["now", "later", "never"] = "now"
        self._noted: list[tuple[Tensor, Tensor, Tensor]] = []  # vectors, rows and counts of batches to follow later
        if size.dim % size.groups:
            raise UserError(f"quantizer.groups={size.groups}: expected a divisor of quantizer.dim={size.dim}")
        self.size = size
        k, d = size.codebook_size * size.groups, size.dim // size.groups
        codebook = torch.randn(k, d) if size.init == "normal" else (torch.rand(k, d) * 2 - 1) / size.codebook_size
        if size.metric == "cosine":
            codebook = F.normalize(codebook, dim=1)
        if size.learn == "loss":
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.ones(k))  # moving averages: vectors per batch of each code, their sums
        self.register_buffer("sums", codebook.clone())
        self.register_buffer("started", torch.tensor(size.init != "kmeans"))
        self._ready = False  # known to be started
        self.register_buffer("used", torch.zeros(k), persistent=False)  # since somebody last looked
        first = torch.arange(0, k, size.codebook_size)[:, None]  # (G, 1): row of the codebook that a group begins at
        self.register_buffer("first", first, persistent=False)

    def forward(self, z: Tensor, draws: Draws | None = None) -> Quantized:
        """Quantize (B, D, T); with `draws`, in training, the codebook learns and codes jitter."""
        groups, (b, _, t) = self.size.groups, z.shape
        with torch.autocast(z.device.type, enabled=False):
            if groups == 1:
                vectors = z.float().transpose(1, 2)  # (B, T, D)
            else:  # (G B, T, D / G): groups stand where items do
                vectors = z.float().reshape(b, groups, -1, t).permute(1, 0, 3, 2).flatten(0, 1)
            if self.size.metric == "cosine":
                vectors = F.normalize(vectors, dim=2)
            learning = draws if self.training else None
            if learning is not None and self.follows != "never":
                self._start(vectors, learning)
            still = vectors.detach()
            flat = still.flatten(0, 1)  # (G B T, D / G)
            codes = self.nearest(flat).view(vectors.shape[:-1])  # (G B, T), those of a group within its own K
            rows = self._rows(codes)
            values = F.embedding(rows, self._codes())  # (G B, T, D / G)
            fixed = values.detach()
            codebook, commitment = F.mse_loss(values, still), F.mse_loss(vectors, fixed)
            # (G B T,) -> counts (G K,); torch.bincount would make a GPU wait
            count = torch.zeros_like(self.counts).scatter_(0, rows.flatten(), 1.0, reduce="add")
            if learning is not None:
                count = summed(count)
            each = self._by_group(count)
            entropy = torch.special.entr(each / each.sum(-1, keepdim=True)).sum()
            if groups > 1:
                entropy = entropy / groups
            passed = fixed
            if learning is not None:
                if self.size.jitter:
                    moved = self._rows(jitter(codes, self.size.jitter, learning))
                    passed = F.embedding(moved, self._codes().detach())
                self._follow(flat, rows, count, learning)
            passed = passed + (vectors - still)  # the value is exactly the code's
            if groups == 1:
                return Quantized(codes, passed.transpose(1, 2), codebook, commitment, torch.exp(entropy))
            codes = codes.view(groups, b, t).permute(1, 2, 0)
            passed = passed.view(groups, b, t, -1).permute(1, 0, 3, 2).flatten(1, 2)
            return Quantized(codes, passed, codebook, commitment, torch.exp(entropy))

    def nearest(self, flat: Tensor) -> Tensor:
        """Vectors (G N, D / G), group after group, without gradient -> codes (G N,), int64."""
        table = self._codes().detach()  # (G K, D / G)
        # (N, K), without |vector|^2, which is the same for all codes
        if self.size.groups == 1:
            distance = torch.addmm(table.square().sum(1), flat, table.T, alpha=-2)
            return distance.argmin(1)
        books = table.view(self.size.groups, self.size.codebook_size, -1)
        each = flat.view(self.size.groups, -1, flat.shape[1])
        squares = books.square().sum(2)[:, None]  # (G, 1, K)
        return torch.baddbmm(squares, each, books.transpose(1, 2), alpha=-2).argmin(2).flatten()

    def _rows(self, codes: Tensor) -> Tensor:
        """Codes (G B, T) within their groups -> rows of the codebook."""
        if self.size.groups == 1:
            return codes
        return (codes.view(self.size.groups, -1) + self.first).view_as(codes)

    def _by_group(self, count: Tensor) -> Tensor:
        """A number for each row of the codebook (G K,) -> (G, K), (K,) where there is one group."""
        return count if self.size.groups == 1 else count.view(self.size.groups, -1)

    def _codes(self) -> Tensor:
        return F.normalize(self.codebook, dim=1) if self.size.metric == "cosine" else self.codebook

    @torch.no_grad()
    def _start(self, vectors: Tensor, draws: Draws) -> None:
        if self._ready:
            return
        self._ready = bool(self.started)  # asked once: a GPU has to be waited for
        if self._ready:
            return
        everything = [gathered(own.flatten(0, 1)) for own in vectors.chunk(self.size.groups)]  # (N, D), N = B T of all
        order = draws.order("kmeans", len(everything[0]), vectors.device)
        codes = torch.cat([kmeans(own, self.size.codebook_size, order) for own in everything])
        self.codebook.data.copy_(codes)
        self.sums.copy_(codes)
        self.started.fill_(True)
        self._ready = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._ready = False
        super()._load_from_state_dict(*args, **kwargs)

    def _follow(self, flat: Tensor, rows: Tensor, count: Tensor, draws: Draws) -> None:
        if self.follows == "now":
            self._learn(flat, rows, count, draws)
        elif self.follows == "later":
            self._noted.append((flat, rows, count))

    def settle(self, draws: Draws) -> None:
        """Follow what was noted; `draws` are of any of its batches."""
        if not self._noted:
            return
        vectors, rows, counts = zip(*self._noted, strict=True)
        self._noted = []
        self._learn(self._joined(vectors), self._joined(rows), torch.stack(counts).sum(0), draws)

    def _joined(self, batches: Sequence[Tensor]) -> Tensor:
        """Tensors (G B, ...) behind each other within the groups."""
        return torch.cat([each.unflatten(0, (self.size.groups, -1)) for each in batches], 1).flatten(0, 1)

    @torch.no_grad()
    def _learn(self, flat: Tensor, rows: Tensor, count: Tensor, draws: Draws) -> None:
        size = self.size
        k = size.codebook_size
        self.used += count
        self.counts.lerp_(count, 1 - size.decay)
        if size.learn == "ema":
            total = summed(torch.zeros_like(self.sums).index_add_(0, rows.flatten(), flat))
            self.sums.lerp_(total, 1 - size.decay)
            counts = self._by_group(self.counts)
            everyone = counts.sum(-1, keepdim=True)  # n of the smoothing
            smoothed = (counts + size.eps) / (everyone + k * size.eps) * everyone
            self.codebook.copy_(self.sums / smoothed.view(-1, 1))
        if size.restart:
            each = flat.view(size.groups, -1, flat.shape[1]).transpose(0, 1)  # (B T, G, D / G)
            everything = gathered(each.flatten(1))  # (N, D); K of them, one for each code, for those that are dead
            order = draws.order("restart", len(everything), flat.device)
            chosen = order[torch.arange(k, device=flat.device) % len(everything)]
            fresh = everything[chosen].view(k, size.groups, -1).transpose(0, 1).reshape(self.codebook.shape)
            dead = self.counts < size.restart
            self.codebook.data.copy_(torch.where(dead[:, None], fresh, self.codebook))
            self.sums.copy_(torch.where(dead[:, None], fresh, self.sums))
            self.counts.masked_fill_(dead, 1.0)


def jitter(codes: Tensor, chance: float, draws: Draws) -> Tensor:
    """Codes (G B, T), each replaced by its left or right neighbor with half the chance; the ends have one neighbor.

    The groups of an item move together.
    """
    frames = codes.shape[1]
    roll = draws.uniform("jitter", frames, device=codes.device)  # (B, T)
    # below chance / 2: -1, from there to chance: +1, else 0
    step = (roll < chance).long() - 2 * (roll < chance / 2).long()
    place = (torch.arange(frames, device=codes.device) + step).clamp(0, frames - 1)
    if len(codes) > len(place):
        place = place.repeat(len(codes) // len(place), 1)
    return codes.gather(1, place)


def kmeans(vectors: Tensor, k: int, order: Tensor, rounds: int = _LLOYD) -> Tensor:
    """K centers (K, D) of vectors (N, D) by Lloyd's algorithm, from the first K of `order` (N,); empty ones stay."""
    centers = vectors[order[torch.arange(k, device=order.device) % len(order)]]
    if len(vectors) < k:  # some start on the same spot
        centers = centers + 1e-3 * centers.std() * torch.linspace(-1, 1, k, device=centers.device)[:, None]
    for _ in range(rounds):
        nearest = torch.cdist(vectors, centers).argmin(1)  # (N, K) -> (N,)
        count = torch.bincount(nearest, minlength=k).to(vectors.dtype)[:, None]  # (K, 1)
        total = torch.zeros_like(centers).index_add_(0, nearest, vectors)
        centers = torch.where(count > 0, total / count.clamp(min=1), centers)
    return centers
