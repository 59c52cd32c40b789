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
from revoice.conversion.together import say_together
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


@pytest.mark.slow
def test_each_is_what_it_is_alone(converter: Converter, clips: list[Audio]) -> None:
    voices = [converter.voice([clips[2]]), converter.voice([clips[3]])]
    equal = Audio(clips[1].samples[: len(clips[0].samples)].copy(), clips[1].sample_rate)
    long = Audio(np.concatenate([clip.samples for clip in clips] * 4), clips[0].sample_rate)  # heard in chunks
    asked = [(clips[0], voices[0]), (clips[0], voices[1]), (equal, voices[0]), (long, voices[1]), (clips[1], voices[1])]
    together = say_together(converter, asked, converter.controls({}))
    assert [said.whole for said in together] == [True, True, True, False, True]
    for (clip, voice), said in zip(asked, together, strict=True):
        alone, found = converter.convert(clip, voice).samples, np.concatenate([*said.blocks])
        assert len(found) == len(alone)
        np.testing.assert_allclose(found, alone, atol=2e-4)


def test_each_source_is_analyzed_once(converter: Converter, clips: list[Audio], monkeypatch) -> None:
    analyzed, plain = [], Converter.analyzed
    monkeypatch.setattr(Converter, "analyzed", lambda self, *given: analyzed.append(1) or plain(self, *given))
    voices = [converter.voice([clips[2]]), converter.voice([clips[3]])]
    analyzed.clear()
    asked = [(clips[0], voices[0]), (clips[0], voices[1]), (clips[1], voices[0])]
    say_together(converter, asked, converter.controls({}))
    assert len(analyzed) == 2


def test_a_silent_clip_is_told(converter: Converter, clips: list[Audio]) -> None:
    voice, silent = converter.voice([clips[2]]), Audio(np.zeros(16000, np.float32), 16000)
    said = say_together(converter, [(silent, voice), (clips[0], voice)], converter.controls({}))
    with pytest.raises(AudioError):
        next(said[0].blocks)
    assert np.isfinite(np.concatenate([*said[1].blocks])).all(), "the other is said all the same"
