"""A training step of SpeechSplit's generator at its published size against the plain way to write it.

    python benchmarks/speechsplit_step.py [steps] [items]

The plain way is eager float32 with a loop over items and segments wherever something is resampled; both have the same
weights and draws, and in float32 the same loss. Prints milliseconds of both and their ratio, in one run, on a GPU if
there is one.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from gpu_step import wait
from systems import system
from torch import Tensor

from revoice.data.read.batch import Batch
from revoice.models.speechsplit import SpeechSplit
from revoice.models.speechsplit.model import GENERATOR
from revoice.models.speechsplit.networks import Encoder, hold
from revoice.nn.draws import Draws
from revoice.nn.pitch_classes import STEPS, UNVOICED
from revoice.nn.random_resampling import LONGEST, SHORTEST, segments

STEPS_TIMED, ITEMS = 5, 16


def plain_loss(model: SpeechSplit, batch: Batch) -> Tensor:
    """The loss of G, item by item wherever the published program goes from item to item."""
    assert batch.draws is not None and batch.f0 is not None
    spread, device = model.frames - model.shortest + 1, batch.features.device
    lengths = model.shortest + batch.draws.integers("lengths", spread, device=device)
    lengths = lengths.clamp(max=int(batch.lengths.max()))
    statistics = model.statistics(batch)
    mels, contours = [], []
    for item in range(len(batch)):
        size = int(lengths[item])
        mel = batch.features[item, :, :size].clamp(0, 1)
        mean, deviation = (float(value) for value in statistics[item])
        f0 = batch.f0[item, :size]
        contour = ((f0.clamp(min=1e-3).log() - mean) / (4 * max(deviation, 0.02))).clamp(-1, 1)
        contour = torch.where(f0 > 0, ((contour + 1) / 2).clamp(min=1e-6), UNVOICED)
        mels.append(F.pad(mel, (0, model.padded - size)))
        contours.append(F.pad(contour, (0, model.padded - size), value=UNVOICED))
    mel, heard = torch.stack(mels), torch.cat([torch.stack(mels), torch.stack(contours)[:, None]], dim=1)
    heard = resampled(heard, lengths.tolist(), batch.draws, "g/heard", model.frames)
    one_hot = torch.stack([classes_of(each) for each in heard[:, -1]])
    content, pitch = encoded(model, heard[:, :-1], one_hot, batch.draws)
    codes = zip((content, model.generator.rhythm(mel), pitch), encoders(model), strict=True)
    voice = model.told(batch)[:, None].expand(-1, model.padded, -1)
    made = model.generator.decoder(torch.cat([*(hold(code, each.every) for code, each in codes), voice], dim=2))
    return F.mse_loss(made, mel)


def encoders(model: SpeechSplit) -> tuple[Encoder, Encoder, Encoder]:
    """In the order of the decoder's input."""
    return model.generator.content, model.generator.rhythm, model.generator.pitch


def classes_of(contour: Tensor) -> Tensor:
    """(T,) -> (257, T), one-hot."""
    index = torch.where(contour <= 0, 0, (contour * (STEPS - 1)).round() + 1).long()
    return F.one_hot(index, STEPS + 1).T.float()


def encoded(model: SpeechSplit, x: Tensor, f0: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Codes of content and pitch, resampled together after each convolution."""
    content, pitch = model.generator.content, model.generator.pitch
    for number in range(len(content.convs)):
        x = content.norms[number](content.convs[number](x)).relu()
        f0 = pitch.norms[number](pitch.convs[number](f0)).relu()
        both = resampled(torch.cat([x, f0], dim=1), [x.shape[-1]] * len(x), draws, f"g/{number}", model.frames)
        x, f0 = both.split([x.shape[1], f0.shape[1]], dim=1)
    return tuple(down(each, heard) for each, heard in ((content, x), (pitch, f0)))  # type: ignore[return-value]


def down(encoder: Encoder, x: Tensor) -> Tensor:
    """The LSTM and the steps of it that are the code."""
    forward, backward = encoder.lstm(x.transpose(1, 2))[0].chunk(2, dim=2)
    return torch.cat([forward[:, encoder.every - 1 :: encoder.every], backward[:, :: encoder.every]], dim=2)


def resampled(x: Tensor, lengths: list[int], draws: Draws, name: str, longest: int) -> Tensor:
    """(B, C, T) resampled as `nn.random_resampling` does, in loops."""
    count = segments(longest)
    scales = draws.uniform(f"{name}/scales", count, device=x.device) + 0.5
    sizes = SHORTEST + draws.integers(f"{name}/sizes", LONGEST - SHORTEST + 1, count, device=x.device)
    rows = []
    for item, length in enumerate(lengths):
        pieces, offset = [], 0
        for scale, size in zip(scales[item], sizes[item].tolist(), strict=True):
            place = torch.arange(64, device=x.device) / scale
            floor = place.floor()
            kept = (floor < size - 1) & (floor + offset < length - 1)
            low = floor[kept].long() + offset
            share = (place - floor)[kept]
            pieces.append((1 - share) * x[item][:, low] + share * x[item][:, low + 1])
            offset += size
        row = torch.cat(pieces, dim=1)[:, : x.shape[-1]]
        rows.append(F.pad(row, (0, x.shape[-1] - row.shape[1])))
    return torch.stack(rows)


def ours(model: SpeechSplit, batch: Batch, half: bool) -> Tensor:
    """As `train.py` computes it."""
    with torch.autocast(batch.features.device.type, torch.bfloat16, enabled=half):
        return model.play(batch, GENERATOR).losses["reconstruction"]


def timed(model: SpeechSplit, batch: Batch, loss: Callable[[SpeechSplit, Batch], Tensor], step: int) -> float:
    """Milliseconds of a step."""
    given = replace(batch, draws=Draws(0, step, 0, len(batch), len(batch)))
    began = time.perf_counter()
    loss(model, given).backward()
    wait()
    found = 1000 * (time.perf_counter() - began)
    model.zero_grad()
    return found


def main(steps: int = STEPS_TIMED, items: int = ITEMS) -> None:
    """Time all ways in turn, so that a busy machine slows each; the fastest step of each counts."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = system("speechsplit")
    model, batch = chosen.model.to(device), chosen.batch(items).to(device)
    with torch.no_grad():
        plain, same = float(plain_loss(model, batch)), float(model.play(batch, GENERATOR).losses["reconstruction"])
    print(f"loss {plain:.6f} the plain way, {same:.6f} here, both in float32")
    ways: dict[str, Callable[[SpeechSplit, Batch], Tensor]] = {
        "plain float32": plain_loss,
        "here float32": lambda m, b: ours(m, b, False),
        "here bfloat16": lambda m, b: ours(m, b, True),
    }
    best = dict.fromkeys(ways, float("inf"))
    for step in range(steps + 1):  # the first round warms up
        for name, loss in ways.items():
            spent = timed(model, batch, loss, step)
            best[name] = min(best[name], spent) if step else best[name]
    for name, spent in best.items():
        print(f"{name:14} {spent:8.0f} ms forward and back, {items} items: {best['plain float32'] / spent:.2f}x")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
