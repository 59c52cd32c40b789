"""The anonymizer as a model: its features go back to the very waveform that it made."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from revoice.audio.anonymization import ANONYMIZERS
from revoice.audio.io import Audio
from revoice.audio.presets import load_preset
from revoice.conversion.load import load
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from tests.audio.test_anonymizers import buzz

NOISE = {"name": "noise", "snr": 20.0}


def test_what_is_heard_is_what_the_anonymizer_makes() -> None:
    clip = buzz(seconds=1.0)
    made = load("anonymizer", settings={"by": NOISE}).convert(Audio(clip, 16000))
    wanted = ANONYMIZERS.build("noise", {"snr": 20.0})(clip, 16000)
    assert made.sample_rate == 16000 and len(made.samples) == len(clip)
    gain = np.dot(made.samples, wanted) / np.dot(wanted, wanted)  # loudness is that of the source
    assert np.abs(made.samples - gain * wanted).max() < 1e-3


def test_an_id_decides_what_is_drawn_and_a_batch_gives_what_its_items_give() -> None:
    converter = load("anonymizer", settings={"by": NOISE})
    one = converter.analyzed(Audio(buzz(seconds=0.5), 16000))
    both = Batch.join([one, converter.analyzed(Audio(buzz(seconds=0.5, seed=1), 16000))])
    made = converter.model.convert(both, [], None)
    assert torch.equal(made[:1], converter.model.convert(one, [], None))
    named = [converter.model.convert(Batch(**{**vars(one), "id": (name,)}), [], None) for name in ("a", "a", "b")]
    assert torch.equal(named[0], named[1]) and not torch.equal(named[0], named[2])


def test_at_another_rate() -> None:
    spec = replace(load_preset("complex_16k"), sample_rate=24000)
    made = load("anonymizer", settings={"by": NOISE}, features=spec).convert(Audio(buzz(seconds=0.5), 16000))
    assert made.sample_rate == 24000 and len(made.samples) == 12000


def test_it_takes_no_target_and_no_other_features() -> None:
    converter = load("anonymizer")
    with pytest.raises(UserError, match="takes no target voice"):
        converter.convert(Audio(buzz(), 16000), Audio(buzz(), 16000))
    with pytest.raises(UserError, match="features=complex_16k"):
        load("anonymizer", features=load_preset("linear_16k"))
    with pytest.raises(UserError, match="leave features= out"):
        load("anonymizer", features=load_preset("complex_16k").__class__(
            sample_rate=16000, n_fft=256, hop=64, win=256, phase=True
        ))  # fmt: skip
