"""The loss that compares rewritten codes with those of a true recording of the same sentence in that emotion."""

from dataclasses import replace

import pytest
import torch

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.codegan import CodeGAN
from revoice.nn.draws import Draws
from tests.models.test_codegan import CONVERTER, batch, residual
from tests.models.test_codegan_energy import model

FRAMES = 96


def pairs(items: int = 4, slower: int = 2, higher: float = 1.2, louder: float = 0.0) -> Batch:
    """Clips, and the same ones with another emotion: slower, higher, louder."""
    own = batch(items, FRAMES, Draws(0, 0, 0, items, items))
    draw = torch.Generator().manual_seed(1)
    spoken = torch.randn(items, 80, FRAMES // 4, generator=draw).repeat_interleave(4, dim=2) - 3
    f0 = (100 + 50 * torch.rand(items, FRAMES // 4, generator=draw)).repeat_interleave(4, dim=1)
    return replace(
        own, features=spoken, f0=f0, speaker=None,
        parallel=spoken.repeat_interleave(slower, dim=2) + louder,
        parallel_lengths=torch.full((items,), slower * FRAMES),
        parallel_f0=higher * f0.repeat_interleave(slower, dim=1),
        parallel_emotion=(own.emotion + 1) % 4,
    )  # fmt: skip


def gan() -> CodeGAN:
    """It knows the level of the voice, so that who speaks higher has other codes."""
    made = model("pitch", "energy")
    made.set_pitch(torch.tensor([[torch.tensor(120.0).log(), 0.2]]), True)
    made.generator.residual = True
    return made


def loss(made: CodeGAN, given: Batch, add: torch.Tensor | float = 0.0) -> float:
    made.generator.forward = lambda codes, *_: codes + add  # type: ignore[method-assign]
    given = replace(given, speaker=torch.zeros(len(given), dtype=torch.long))
    return float(made.play(given).losses["parallel"])


def test_the_right_codes_at_the_pace_of_the_source_have_none() -> None:
    made, given = gan(), pairs()
    shift = torch.zeros(1, 2, 1)
    codes = [made.sequence(made._codes(replace(given, speaker=torch.zeros(4, dtype=torch.long), f0=f0))) for f0 in
             (given.f0, 1.2 * given.f0)]  # fmt: skip
    shift[:, 0] = (codes[1] - codes[0])[:, 0].mean()
    assert shift[0, 0, 0] > 0.1
    unchanged, right = loss(made, given), loss(made, given, shift)
    assert right < 0.02 * unchanged, "slower is not wrong, and the melody is where it has to be"
    assert loss(made, given, -shift) == pytest.approx(2 * unchanged, rel=0.02)
    assert loss(made, pairs(louder=1.5), shift) < 0.02 * unchanged, "nor is a louder recording"


def test_recordings_in_the_same_emotion_are_not_compared() -> None:
    made, given = gan(), pairs()
    assert given.emotion is not None
    assert loss(made, replace(given, parallel_emotion=given.emotion)) == 0
    half = torch.where(torch.arange(4) < 2, given.emotion, given.parallel_emotion)
    assert 0 < loss(made, replace(given, parallel_emotion=half)) < loss(made, given)


def test_a_melody_that_was_not_found_is_not_compared() -> None:
    made, given = gan(), pairs()
    assert given.parallel_f0 is not None
    unvoiced = given.parallel_f0 * (torch.arange(4) < 2)[:, None]
    assert loss(made, replace(given, parallel_f0=0 * unvoiced)) == 0
    assert 0 < loss(made, replace(given, parallel_f0=unvoiced)) < loss(made, given)


def test_padding_is_not_compared() -> None:
    made, given = gan(), pairs()
    short = torch.full((4,), FRAMES // 2)
    features, f0 = given.features.clone(), given.f0.clone()
    features[..., FRAMES // 2 :], f0[:, FRAMES // 2 :] = -11.5, 0
    cut = replace(given, features=features, f0=f0, lengths=short)
    whole = loss(made, given)
    assert 0.3 * whole < loss(made, cut) < 0.7 * whole


def test_processes_compare_in_the_same_units(monkeypatch: pytest.MonkeyPatch) -> None:
    made, given = gan(), replace(pairs(6), speaker=torch.zeros(6, dtype=torch.long))
    assert given.f0 is not None
    given = replace(given, f0=given.f0 ** torch.linspace(0.9, 1.1, 6)[:, None])
    made.generator.forward = lambda codes, *_: codes  # type: ignore[method-assign]
    known = torch.ones(6, dtype=torch.bool)

    def part(chosen: slice) -> float:
        tensors = {name: value[chosen] for name, value in vars(given).items() if isinstance(value, torch.Tensor)}
        cut = Batch(id=("",) * len(known[chosen]), draws=given.draws, **tensors)
        return float(made._parallel(cut, made.sequence(made._codes(cut)), known[chosen]))

    whole, sums = part(slice(0, 6)), list[torch.Tensor]()
    monkeypatch.setattr("revoice.models.codegan.losses.summed", lambda values: sums.append(values) or values)
    alone = [part(slice(0, 2)), part(slice(2, 6))]
    monkeypatch.setattr("revoice.models.codegan.losses.summed", lambda _: sums[0] + sums[1])
    together = [part(slice(0, 2)), part(slice(2, 6))]
    assert (2 * together[0] + 4 * together[1]) / 6 == pytest.approx(whole, rel=1e-4)
    assert (2 * alone[0] + 4 * alone[1]) / 6 != pytest.approx(whole, rel=1e-3)


def test_it_teaches_the_generator_and_is_asked_for() -> None:
    made = residual(rewritten=("pitch", "rhythm"), parallel=192)
    assert made.requires.parallel == 192 and residual().requires.parallel == 0
    given = pairs()
    assert "parallel" not in made.play(replace(given, parallel=None)).losses
    made.play(given).losses["parallel"].backward()
    grads = [p.grad for p in made.generator.parameters()]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in grads)
    with pytest.raises(UserError, match="type model.parallel=0 and leave the loss"):
        residual(codes=CONVERTER, rewritten=("content",), parallel=192)
