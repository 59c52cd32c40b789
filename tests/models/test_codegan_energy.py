"""Loudness over time as a code of CodeGAN: what it is of a clip, and what a change of it does to the sound."""

from dataclasses import replace

import pytest
import torch

from revoice.audio.presets import load_preset
from revoice.errors import UserError
from revoice.models.codegan import CodeGAN, CodeGANControls
from revoice.models.codegan.energy import EVERY, MOST, QUIET, SPREAD, energy, gain
from tests.models.test_codegan import EMOTIONS, FACTS, batch

SPEAKS = {
    "content": {"layers": 1, "width": 16, "heads": 2},
    "neck": {"channels": 8, "hidden": 16},
    "decoder": {"channels": 16, "hidden": 16, "blocks": 1, "voice": 16, "pitch_bins": 16},
}


def model(*rewritten: str) -> CodeGAN:
    torch.manual_seed(0)
    codes = {"model": "recsyn", "arguments": {**FACTS, **SPEAKS}}
    return CodeGAN(**FACTS, emotions=EMOTIONS, codes=codes, rewritten=rewritten, generator={"width": 8}).eval()


def spoken(frames: int, items: int = 1) -> torch.Tensor:
    """Log-magnitudes that get louder by a neper, each band by as much."""
    return torch.linspace(-5, -4, frames).expand(items, 80, frames).clone()


def test_a_code_is_the_level_over_time_whatever_the_level() -> None:
    lengths = torch.tensor([32, 32])
    code = energy(torch.cat([spoken(32), 2 + spoken(32)]), lengths, 8)
    assert code.shape == (2, 8, 1)
    torch.testing.assert_close(code[0], code[1])
    steps = code[0, :, 0] * SPREAD
    torch.testing.assert_close(steps[-1] - steps[0], torch.tensor(28 / 31))  # means of four frames, 28 apart
    power = (2 * spoken(32)[0, 0]).exp().mean().log() / 2
    torch.testing.assert_close(steps, spoken(32)[0, 0].view(8, 4).mean(1) - power)


def test_silence_is_held_and_padding_is_no_part_of_the_level() -> None:
    clip = spoken(32)
    clip[..., 8:16] = -11.5
    code = energy(clip, torch.tensor([32]), 8)[0, :, 0]
    torch.testing.assert_close(code[2:4] * SPREAD, torch.full((2,), -QUIET))
    padded = torch.cat([clip, torch.full((1, 80, 9), -11.5)], dim=2)
    torch.testing.assert_close(energy(padded, torch.tensor([32]), 11)[0, :8, 0], code)
    held = energy(padded, torch.tensor([32]), 11)[0, 8:, 0] * SPREAD
    own = 0.5 * (padded[0, 0, 31] * 2 - (2 * clip[0, 0]).exp().mean().log())
    torch.testing.assert_close(held, own.expand(3)), "steps of frames that are filled up are as the last one"
    longer = energy(clip[..., :30], torch.tensor([30]), 10)[0, :, 0]
    assert longer[-1] == longer[-2] and bool(longer.isfinite().all()), "steps without frames are as the last one"


def test_a_gain_brings_one_level_to_the_other() -> None:
    clip, wanted = spoken(64), spoken(64).flip(2)
    lengths = torch.tensor([64])
    before, after = (energy(x, lengths, 16) for x in (clip, wanted))
    moved = energy(clip + gain(before, after, 64)[:, None], lengths, 16)
    assert (moved - after).abs().max() < 0.1 * (before - after).abs().max()
    assert gain(before, before, 64).abs().max() == 0
    assert gain(before, before + 100, 61).shape == (1, 61) and gain(before, before + 100, 64).max() == MOST
    silent = torch.full_like(before, -QUIET / SPREAD)
    assert gain(silent, before, 64).abs().max() == 0, "what was silence gets no louder"


@pytest.mark.parametrize("frames", [9, 61, 90])
def test_energy_and_melody_are_rewritten_and_spoken(frames: int) -> None:
    gan = model("pitch", "energy")
    assert gan.channels == 2
    clip = replace(batch(2, frames), waveform=0.1 * torch.randn(2, frames * 256), emotion=None)
    made = [gan.convert(clip, [], CodeGANControls(emotion=emotion)) for emotion in (None, "sad")]
    assert made[0].shape == (2, 80, frames) and not torch.allclose(made[0], made[1])
    told = gan.pitch(clip, [], CodeGANControls(emotion="sad"))
    assert told is not None and told.shape == (2, frames)
    assert bool(((told > 0) == (clip.f0 > 0)).all())
    louder = gan.convert(clip, [], CodeGANControls(energy_code=2))
    change = louder - made[0]
    assert change.abs().max() > 1e-3
    torch.testing.assert_close(change, change[:, :1].expand_as(change), msg="a gain is one for all bands")
    assert EVERY * gan._codes(batch(2, frames)).energy.shape[1] >= frames


def test_what_is_said_is_as_loud_over_time_as_its_source_where_nobody_changes_it() -> None:
    gan = model("pitch", "energy")
    clip = replace(batch(1, 64), features=spoken(64), waveform=0.1 * torch.randn(1, 64 * 256), emotion=None)
    made = gan.convert(clip, [], CodeGANControls())
    wanted, found = (energy(x, clip.lengths, 16) for x in (clip.features, made))
    assert (wanted - found).abs().max() * SPREAD < 0.1


def test_without_energy_all_is_as_it_was() -> None:
    """The vocoder is told nothing, the features are those of the codes, and there is no factor on what is none."""
    gan = model("pitch")
    clip = replace(batch(1, 90), waveform=0.1 * torch.randn(1, 90 * 256), emotion=None)
    assert gan.pitch(clip, [], CodeGANControls(emotion="sad")) is None
    codes = gan.coder.codes(clip)
    with torch.no_grad():
        said = gan.coder.speak(gan.rewrite(codes, CodeGANControls(emotion="sad")), gan.coder.told(clip))
    assert codes.energy is None and torch.equal(gan.convert(clip, [], CodeGANControls(emotion="sad")), said)
    with pytest.raises(UserError, match=r"model\.rewritten=\[pitch,energy\]"):
        gan.check_controls(CodeGANControls(energy_code=2))


def test_a_told_source_moves_the_mean_by_the_difference_of_two_emotions() -> None:
    gan = model("pitch")
    clip = replace(batch(1, 90), waveform=0.1 * torch.randn(1, 90 * 256), emotion=None)
    codes = gan.coder.codes(clip)
    means = {}
    for source in (None, "happy", "sad"):
        means[source] = gan.rewrite(codes, CodeGANControls(emotion="sad", source_emotion=source)).pitch.mean()
    torch.testing.assert_close(means["sad"], codes.pitch.mean())  # from sad to sad the level stays
    own = gan.sequence(codes)
    usual = [gan.generator(own, torch.tensor([EMOTIONS.index(e)])).mean() for e in ("sad", "happy")]
    torch.testing.assert_close(means["happy"], codes.pitch.mean() + usual[0] - usual[1])
    with pytest.raises(UserError, match="valid: angry, happy, neutral, sad"):
        gan.check_controls(CodeGANControls(source_emotion="bored"))


def test_energy_is_of_log_magnitudes() -> None:
    gan = model("pitch", "energy")
    gan.set_features(load_preset("mel_22k"))
    with pytest.raises(UserError, match="features=mel_22k"):
        gan.set_features(load_preset("speechsplit_16k"))
    model("pitch").set_features(load_preset("speechsplit_16k"))
