"""Conversions that are longer or shorter than their sources, in one piece and in chunks."""

import numpy as np
import pytest
import torch

import revoice
from revoice.audio.io import Audio, AudioError
from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description, spec_facts
from revoice.checkpoint.save import save
from revoice.conversion.converter import Converter
from revoice.errors import UserError
from revoice.models.base import MODELS
from tests.models.test_speechsplit import TINY

RATE = 16000


def speech(seconds: float, f0: float) -> Audio:
    """Syllables of pulses."""
    t = np.arange(round(RATE * seconds)) / RATE
    wave = sum(np.sin(2 * np.pi * k * f0 * t) / k for k in range(1, 12))
    return Audio((0.1 * wave * (0.1 + np.abs(np.sin(2 * np.pi * 2 * t)))).astype(np.float32), RATE)


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Converter:
    spec = load_preset("speechsplit_16k")
    arguments = {**spec_facts(spec), **TINY, "n_speakers": 2}
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("tempo") / "a.safetensors"
    made = Description(model="speechsplit", arguments=arguments, features=spec.to_dict())
    save(MODELS.build("speechsplit", arguments), made, file)
    return revoice.load(file, vocoder={"name": "griffin_lim", "iterations": 1})


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.6])
def test_a_rate_changes_the_length(converter: Converter, rate: float) -> None:
    source = speech(2.0, 120.0)
    made = converter.convert(source, [source], rate=rate)
    assert made.seconds == pytest.approx(2.0 / rate, abs=0.02)
    assert float(np.abs(made.samples).max()) > 0.01


def test_the_target_s_rhythm_is_as_long_as_the_target(converter: Converter) -> None:
    source, target = speech(2.0, 120.0), speech(1.3, 200.0)
    for timing in ("codes", "aligned"):
        made = converter.convert(source, [target], aspects=["rhythm"], timing=timing)
        assert made.seconds == pytest.approx(1.3, abs=0.03)


def test_a_long_recording_is_slowed_down_in_chunks_with_its_pause(converter: Converter) -> None:
    quiet = Audio(np.concatenate([speech(20.0, 120.0).samples, np.zeros(3 * RATE, np.float32),
                                  speech(18.0, 120.0).samples]), RATE)  # fmt: skip
    made = converter.convert(quiet, [], rate=0.8)
    assert made.seconds == pytest.approx(41.0 / 0.8, abs=0.05)
    power = (made.samples[: len(made.samples) // 800 * 800].reshape(-1, 800) ** 2).mean(axis=1)
    still = np.flatnonzero(power < 1e-7) * 800 / RATE  # the pause, where it belongs
    assert still.min() == pytest.approx(20.25 / 0.8, abs=0.5) and still.max() == pytest.approx(22.75 / 0.8, abs=0.5)


@pytest.mark.parametrize("aspect", ["rhythm", "pitch"])
def test_what_a_sentence_has_as_a_whole_is_not_for_a_long_recording(converter: Converter, aspect: str) -> None:
    with pytest.raises(AudioError, match="takes its timing or melody from the target"):
        converter.convert(speech(40.0, 120.0), [speech(1.0, 200.0)], aspects=[aspect])


def test_an_aspect_that_there_is_not_is_told(converter: Converter) -> None:
    with pytest.raises(UserError, match="aspects"):
        converter.convert(speech(1.0, 120.0), [speech(1.0, 200.0)], aspects=["melody"])
