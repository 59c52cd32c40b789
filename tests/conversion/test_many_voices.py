"""Many clips into many voices at once: each as alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from revoice.audio.features import extract
from revoice.audio.io import Audio, AudioError, read_audio
from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.conversion.converter import Converter
from revoice.conversion.together import convert_together
from revoice.models.base import MODELS
from revoice.vocoders.base import VOCODERS
from tests.conftest import compose_config


@pytest.fixture(scope="module")
def clips(shared: Path) -> list[Audio]:
    return [read_audio(path) for path in sorted((shared / "data/vctk_mini/wav16").rglob("*.wav"))[:4]]


@pytest.fixture(scope="module")
def converter(clips: list[Audio], tmp_path_factory: pytest.TempPathFactory) -> Converter:
    config = compose_config("train", "model=adain_vc_small", folder=tmp_path_factory.mktemp("unused"))
    spec, arguments = load_preset("mel_22k"), dict(config["model"])
    arguments["n_features"] = spec.channels
    torch.manual_seed(0)
    model = MODELS.build(arguments.pop("name"), arguments).eval()
    known = extract(torch.from_numpy(clips[0].samples), spec)
    model.set_statistics(known.mean(1), known.std(1))
    about = Description(model="adain_vc", arguments=arguments, features=spec.to_dict(), trim_db=30.0)
    hasty = VOCODERS.build("griffin_lim", {"spec": spec, "iterations": 4})  # does to each clip what many do
    return Converter(Loaded(model, spec, about, None, ""), hasty)


def test_each_is_what_it_is_alone(converter: Converter, clips: list[Audio]) -> None:
    voices = [converter.voice([clips[2]]), converter.voice([clips[3]])]
    equal = Audio(clips[1].samples[: len(clips[0].samples)].copy(), clips[1].sample_rate)
    long = Audio(np.concatenate([clip.samples for clip in clips] * 4), clips[0].sample_rate)  # heard in chunks
    asked = [(clips[0], voices[0]), (clips[0], voices[1]), (equal, voices[0]), (long, voices[1]), (clips[1], voices[1])]
    together = convert_together(converter, asked)
    for (clip, voice), found in zip(asked, together, strict=True):
        alone = converter.convert(clip, voice)
        assert len(found.samples) == len(alone.samples) and found.sample_rate == alone.sample_rate
        np.testing.assert_allclose(found.samples, alone.samples, atol=2e-4)


def test_each_source_is_analyzed_once(converter: Converter, clips: list[Audio], monkeypatch) -> None:
    analyzed, plain = [], Converter.analyzed
    monkeypatch.setattr(Converter, "analyzed", lambda self, *given: analyzed.append(1) or plain(self, *given))
    voices = [converter.voice([clips[2]]), converter.voice([clips[3]])]
    analyzed.clear()
    convert_together(converter, [(clips[0], voices[0]), (clips[0], voices[1]), (clips[1], voices[0])])
    assert len(analyzed) == 2


def test_a_silent_clip_is_told(converter: Converter, clips: list[Audio]) -> None:
    with pytest.raises(AudioError):
        convert_together(converter, [(Audio(np.zeros(16000, np.float32), 16000), converter.voice([clips[2]]))])
