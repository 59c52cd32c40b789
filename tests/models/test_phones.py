from pathlib import Path

import pytest
import torch
from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.data.fields.inventory import INVENTORY, phones_of
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.models.phones import Phones
from revoice.models.phones.recognizer import _targets, _taught
from revoice.models.whisper import Whisper
from revoice.nn.augment import echoed, masked, resampled, varied
from revoice.nn.draws import Draws

SMALL = {"n_features": 8, "channels": 16, "dilations": [1, 2]}
WHISPER = {"n_features": 8, "width": 16, "heads": 2, "layers": 1}
NAMES = ("phones", "phone_teacher")


def build(name: str, **more: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS.build(name, {**(SMALL if name == "phones" else WHISPER), **more})


def numbers(*phones: tuple[int, int, int], frames: int = 40) -> Tensor:
    """The field's row of phones (place in the inventory, first frame, last frame)."""
    row = torch.full((frames,), -1, dtype=torch.int8)
    for place, first, last in phones:
        row[first : last + 1] = 2 * place
        row[(first + last) // 2] += 1
    return row


def batch(draws: bool = False, known: bool = True, **more: object) -> Batch:
    generator = torch.Generator().manual_seed(0)
    rows = [numbers((3, 2, 9), (3, 10, 17), (7, 20, 31)), numbers((1, 0, 5), (2, 6, 30)), numbers((5, 4, 11))]
    phones = torch.stack(rows) if known else torch.full((3, 40), -2, dtype=torch.int8)
    return Batch(
        id=("a", "b", "c"), features=torch.rand(3, 8, 40, generator=generator), lengths=torch.tensor([40, 40, 33]),
        phones=phones, draws=Draws(0, 0, 0, 3, 3) if draws else None, **more,
    )  # fmt: skip


def test_padding_and_company_change_nothing() -> None:
    model = build("phones").eval()
    clips = [torch.randn(8, frames) for frames in (50, 31, 2)]
    padded = torch.full((3, 8, 64), 7.0)
    for row, clip in zip(padded, clips, strict=True):
        row[:, : clip.shape[1]] = clip
    lengths = torch.tensor([clip.shape[1] for clip in clips])
    with torch.no_grad():
        together = model.log_probs(padded, lengths)
        assert together.shape == (3, len(INVENTORY) + 1, 32)
        for row, clip in zip(together, clips, strict=True):
            alone = model.log_probs(clip[None])[0]
            torch.testing.assert_close(row[:, : alone.shape[1]], alone, atol=1e-5, rtol=1e-5)
    heard = model.transcribe(padded, lengths)
    assert heard == [model.transcribe(clip[None])[0] for clip in clips]


def test_a_transcript_joins_repeats_and_keeps_what_a_blank_parts() -> None:
    model = build("phones", inventory=["a", "b"])
    best = torch.tensor([[1, 1, 0, 1, 2, 2, 0]])
    assert model._read(torch.nn.functional.one_hot(best, 3).transpose(1, 2), torch.tensor([14])) == [[1, 1, 2]]
    assert model._read(torch.nn.functional.one_hot(best, 3).transpose(1, 2), torch.tensor([5])) == [[1]]
    assert set(model.transcribe(torch.randn(1, 8, 300))[0]) <= {"a", "b"}


def test_a_crop_has_the_phones_whose_middles_are_inside() -> None:
    rows = torch.stack([numbers((3, 2, 9), (3, 10, 17), (7, 20, 31)), numbers((1, 0, 5), (2, 6, 31))])
    phones, counts = _targets(rows, torch.tensor([40, 40]), torch.ones(2))
    assert phones.tolist() == [[4, 4, 8], [2, 3, 0]] and counts.tolist() == [3, 2]
    phones, counts = _targets(rows, torch.tensor([25, 18]), torch.ones(2))
    assert phones.tolist() == [[4, 4], [2, 0]] and counts.tolist() == [2, 1]
    _, counts = _targets(rows, torch.tensor([13, 18]), torch.tensor([2.0, 0.5]))
    assert counts.tolist() == [3, 1], "faster speech has its phones in fewer frames"
    assert _targets(rows[:, :2], torch.tensor([2, 2]), torch.ones(2))[1].tolist() == [0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(name: str) -> None:
    model = build(name, dropout=0.0).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    first = model.losses(batch())["ctc"].item()
    for _ in range(120):
        losses = model.losses(batch())
        total = losses["ctc"] + losses["moments"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    unused = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == [], "every weight takes part, or DDP would wait for it"
    assert losses["ctc"].item() < 0.2 * first
    assert model.eval().measures(batch())["per"].item() < 0.6
    assert model.measures(batch(known=False))["per"].item() == 0.0


def test_random_changes_leave_finite_losses_that_repeat() -> None:
    model = build("phones", dropout=0.0).train()
    first, again = model.losses(batch(draws=True)), model.losses(batch(draws=True))
    assert all(torch.isfinite(value) for value in first.values())
    assert {k: v.item() for k, v in first.items()} == {k: v.item() for k, v in again.items()}
    assert first["ctc"].item() != model.losses(batch())["ctc"].item()


def test_a_teacher_speaks_where_labels_are_silent() -> None:
    model = build("phones", taught=True, dropout=0.0)
    assert model.requires.fields == ("features", "phones", "posteriors")
    soft = torch.rand(3, len(INVENTORY) + 1, 20).softmax(1)
    unlabeled = model.losses(batch(known=False, posteriors=soft))
    assert unlabeled["ctc"].item() == unlabeled["moments"].item() == 0.0 < unlabeled["teacher"].item()
    assert model.losses(batch(posteriors=torch.zeros_like(soft)))["teacher"].item() == 0.0


def test_a_teacher_gives_the_order_of_what_it_hears() -> None:
    best = torch.tensor([[0, 3, 3, 0, 3, 5, 0, 7], [0] * 8])
    soft = torch.nn.functional.one_hot(best, 9).transpose(1, 2).float()
    phones, counts = _taught(soft, torch.tensor([16, 16]), torch.ones(2))
    assert phones.tolist() == [[3, 3, 5, 7], [0] * 4] and counts.tolist() == [4, 0]
    assert _taught(soft, torch.tensor([10, 10]), torch.ones(2))[0][0].tolist() == [3, 3]
    assert _taught(soft * 0, torch.tensor([16, 16]), torch.ones(2))[1].tolist() == [0, 0]


def test_a_file_holds_its_inventory(tmp_path: Path) -> None:
    model = build("phones", inventory=["x", "y"], n_features=80).eval()
    about = Description(
        model="phones", arguments={**SMALL, "n_features": 80, "inventory": ["x", "y"]},
        features=load_preset("whisper_16k").to_dict(),
    )  # fmt: skip
    save(model, about, tmp_path / "phones.safetensors")
    loaded = load_checkpoint(tmp_path / "phones.safetensors").model
    assert isinstance(loaded, Phones) and loaded.inventory == ("x", "y")
    clip = torch.randn(1, 80, 90)
    assert loaded.transcribe(clip) == model.transcribe(clip)
    assert 1.5e6 < sum(p.numel() for p in Phones().parameters()) < 2.5e6


def test_the_teacher_takes_whispers_encoder_and_leaves_it() -> None:
    whisper = Whisper(**WHISPER)
    teacher = build("phone_teacher")
    teacher.grow_from(whisper)
    for key, value in teacher.encoder.state_dict().items():
        assert torch.equal(value, whisper.encoder.state_dict()[key])
    assert not any(p.requires_grad for p in teacher.encoder.parameters())
    with pytest.raises(UserError, match="width"):
        build("phone_teacher", width=24).grow_from(whisper)


def test_resampled_is_faster() -> None:
    ramp = torch.arange(8.0).expand(2, 1, 8)
    fast = resampled(ramp, torch.tensor([2.0, 0.5]))
    assert fast[0, 0].tolist() == [0, 2, 4, 6, 7, 7, 7, 7] and fast[1, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]


@pytest.mark.parametrize("frames", [1, 7, 64])
def test_a_room_adds_what_was_heard_before(frames: int) -> None:
    """In float32 to the last bits, which the order of a sum moves."""
    torch.manual_seed(frames)
    power = torch.rand(3, 5, frames, dtype=torch.float64) ** 4
    decay, tail = (torch.rand(3, 1, 1, dtype=torch.float64) for _ in range(2))
    wet = power.clone()
    for k in range(1, 12):
        wet[..., k:] += (tail * decay**k * power)[..., : max(0, frames - k)]
    torch.testing.assert_close(echoed(power, decay, tail), wet, atol=1e-12, rtol=1e-12)
    single = echoed(power.float(), decay.float(), tail.float())
    torch.testing.assert_close(single, wet.float(), atol=1e-6, rtol=1e-6)


def test_each_axis_is_resampled_by_itself() -> None:
    x, speed = torch.randn(2, 6, 9), torch.tensor([0.8, 1.3])
    assert torch.equal(resampled(x, speed, axis=1), resampled(x.transpose(1, 2), speed).transpose(1, 2))


def test_clips_without_any_change_stay_as_they_are(monkeypatch) -> None:
    """All of it is left out where no draw is below one half, and the floor is where it was."""
    monkeypatch.setattr(Draws, "uniform", lambda *_, device: torch.full((2, 16), 0.5, device=device))
    monkeypatch.setattr(Draws, "normal", lambda _, name, *shape, device: torch.zeros(2, *shape, device=device))
    x = torch.rand(2, 80, 50) * 1.5 - 0.5
    torch.testing.assert_close(varied(x, torch.tensor([50, 50]), Draws(0, 0, 0, 2, 2)), x, atol=1e-6, rtol=1e-6)


def test_varied_keeps_the_scale_and_the_range() -> None:
    x = torch.rand(4, 80, 50) * 1.5 - 0.5
    draws = Draws(0, 3, 0, 4, 4)
    changed = varied(x, torch.tensor([50, 50, 40, 1]), draws)
    assert changed.shape == x.shape and torch.isfinite(changed).all()
    assert (changed.amax((1, 2)) - changed.amin((1, 2)) <= 2.001 + 0.5).all()
    assert torch.equal(changed, varied(x, torch.tensor([50, 50, 40, 1]), draws)) and not torch.equal(changed, x)
    hidden = masked(torch.ones(4, 80, 50), draws)
    assert 0.5 < hidden.mean().item() < 1.0


def test_names_of_espeak_become_phones() -> None:
    assert Phones.from_espeak(["D", "@2", "'eI", "_:", "t#", "@L"]) == ["dh", "ah", "ey", "t", "ah", "l"]
    assert len(INVENTORY) == len(set(INVENTORY)) == 39
    assert phones_of("_|") == phones_of("") == ()


def test_a_clip_alone_has_nobody_else_in_the_background() -> None:
    """Not even itself: its mixture is that of a clip beside silence."""
    x, lengths = torch.rand(2, 80, 60, generator=torch.Generator().manual_seed(0)), torch.tensor([60, 60])
    x[1] = -50.0  # silence, which is heard in the first
    for iteration in range(10):
        alone = varied(x[:1], lengths[:1], Draws(0, iteration, first=0, count=1, total=2))
        beside = varied(x, lengths, Draws(0, iteration, first=0, count=2, total=2))[:1]
        torch.testing.assert_close(alone, beside, rtol=0, atol=1e-6)
