from pathlib import Path

import numpy as np
import pytest
import torch

import revoice
from revoice.conversion.adaptation import Adaptation, adapted
from revoice.conversion.converter import Converter
from revoice.data.read.batch import Batch
from revoice.errors import UserError

STEPS = 6


@pytest.fixture(scope="module")
def clips(workplace: Path) -> list[Path]:
    folder = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    return [folder / name / f"{name}_001_mic1.flac" for name in ("p901", "p905")]


@pytest.fixture(scope="module")
def converter(trained: Path) -> Converter:
    return revoice.load(trained, adapt={"steps": STEPS, "rate": 5e-3})


def error(converter: Converter, model: torch.nn.Module, clip: Batch) -> float:
    """How far a clip is from itself after conversion into its own voice."""
    out = model.convert(clip, [clip], converter.controls({}))
    return float((out - clip.features).abs().mean())


def test_an_adapted_model_rebuilds_its_clip_better_and_the_trained_one_stays_as_it_was(
    converter: Converter, clips: list[Path]
) -> None:
    before = {name: value.clone() for name, value in converter.model.state_dict().items()}
    voice = converter.voice(clips[0])
    clip = voice.references[0]
    assert voice.moved is not None
    assert error(converter, voice.moved, clip) < 0.9 * error(converter, converter.model, voice.references[0])
    for name, value in converter.model.state_dict().items():
        assert torch.equal(value, before[name])
        same = torch.equal(value, voice.moved.state_dict()[name])
        assert same or name.startswith("decoder."), "only what the model names is moved"
    assert all(p.requires_grad for p in converter.model.parameters())


def test_several_clips_each_have_their_turn(converter: Converter, clips: list[Path]) -> None:
    voice = converter.voice(clips)
    assert voice.moved is not None
    for clip in voice.references:
        assert error(converter, voice.moved, clip) < error(converter, converter.model, clip)


def test_strength_says_how_far_the_weights_go(converter: Converter, clips: list[Path]) -> None:
    voice = converter.voice(clips[0])
    assert voice.moved is not None
    assert voice.speaker(0.0) is converter.model and voice.speaker(1.0) is voice.moved
    halfway = voice.speaker(0.5).state_dict()
    for name, value in converter.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(halfway[name], (value + voice.moved.state_dict()[name]) / 2)
    plain = revoice.load(converter.loaded.path, adapt=0)
    own, same = (c.convert(clips[1], v, strength=0.0) for c, v in ((converter, voice), (plain, clips[0])))
    np.testing.assert_array_equal(own.samples, same.samples)


def test_a_model_that_would_not_learn_is_told_before_anything_is_heard() -> None:
    with pytest.raises(UserError, match=r"adapt=20: a random_cnn .*\(adain_vc, vqvae\)"):
        revoice.load("random_cnn", adapt=20)
    assert revoice.load("random_cnn", adapt={"steps": 0, "rate": 1e-3}).adaptation.steps == 0


def test_nothing_to_adapt(converter: Converter, clips: list[Path]) -> None:
    clip = converter.references([clips[0]])[0]
    assert adapted(converter.model, [clip], Adaptation(steps=0), converter.spec) is None
    short = Batch.of_clip(clip.features[0, :, :3], f0=None if clip.f0 is None else clip.f0[0, :3])
    assert adapted(converter.model, [short], Adaptation(steps=1), converter.spec) is None
    assert revoice.load(converter.loaded.path, adapt=0).voice(clips[0]).moved is None


@pytest.mark.parametrize("value", ["twenty", None, True, -1, {"steps": 3, "rate": -1.0}, {"step": 3}])
def test_wrong_settings_are_refused(value: object) -> None:
    with pytest.raises(UserError, match="adapt"):
        Adaptation.of(value)


def test_a_caller_in_inference_mode_gets_the_same(converter: Converter, clips: list[Path]) -> None:
    expected = converter.voice(clips[0]).moved
    with torch.inference_mode():
        moved = converter.voice(clips[0]).moved
    assert moved is not None and expected is not None
    for name, value in expected.state_dict().items():
        assert torch.equal(value, moved.state_dict()[name])
