import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from revoice.audio.features import extract
from revoice.audio.pitch import pitch_for
from revoice.audio.presets import load_preset, preset_names
from revoice.vocoders.excitation import excitation
from revoice.vocoders.griffin_lim import GriffinLim


@pytest.mark.parametrize("name", preset_names())
def test_every_spec_gets_a_signal_of_its_length_and_unit_power(name: str) -> None:
    spec = load_preset(name)
    f0 = torch.full((2, 80), 150.0)
    f0[1, 40:] = 0
    made = excitation(f0, spec)
    assert made.shape == (2, spec.samples(80))
    assert made.square().mean(1).tolist() == pytest.approx([1.0, 1.0], rel=0.2)


def test_the_pitch_is_the_one_that_was_asked_for() -> None:
    spec = load_preset("mel_22k")
    asked = torch.cat([torch.zeros(20), torch.linspace(110.0, 220.0, 150), torch.zeros(30)])
    heard = pitch_for(0.1 * excitation(asked[None], spec)[0].numpy(), spec).f0[:200]
    both = (asked.numpy() > 0) & (heard > 0)
    assert both.sum() > 140
    np.testing.assert_allclose(heard[both][5:-5], asked.numpy()[both][5:-5], rtol=0.02)


def test_items_do_not_influence_each_other() -> None:
    spec = load_preset("mel_22k")
    f0 = torch.stack([torch.full((50,), 100.0), torch.zeros(50)])
    assert torch.equal(excitation(f0, spec)[1:], excitation(f0[1:], spec))
    assert not torch.equal(excitation(f0, spec), excitation(f0, spec, seed=1))


class Apple(TorchDispatchMode):
    """The meta device refuses float64, as Apple's does."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor) and one.is_meta and one.dtype == torch.float64:
                raise TypeError("this device does not support float64")
        return made


def test_a_device_without_float64_gets_the_same_from_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, f0 = load_preset("mel_22k"), torch.full((1, 30), 120.0)
    wanted, moved = excitation(f0, spec), []
    monkeypatch.setattr(Tensor, "cpu", lambda self: f0 if self.is_meta else self)  # what lies there is lent by the CPU
    plain = Tensor.to
    monkeypatch.setattr(Tensor, "to", lambda self, *where: moved.append(self) or plain(self, *where))
    with Apple():
        assert excitation(f0.to("meta"), spec).is_meta
    assert torch.equal(moved[-1], wanted) and moved[-1].dtype == torch.float32
    with pytest.raises(TypeError), Apple():
        f0.to("meta").double()


def harmonics(hz: float, seconds: float, rate: int) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    sweep = 2 * np.pi * np.cumsum(hz * (1 + 0.2 * np.sin(2 * np.pi * time))) / rate
    return (0.05 * sum(np.sin(k * sweep) / k for k in range(1, 30))).astype(np.float32)


def test_mel_bands_come_back_more_harmonic_when_the_pitch_is_known() -> None:
    """The log spectra of what comes back are closer to the original's, where bands are wider than harmonics too."""
    spec = load_preset("mel_22k")
    wave = harmonics(200.0, 2.0, spec.sample_rate)
    features = extract(wave, spec)[None]
    f0 = torch.from_numpy(pitch_for(wave, spec).f0[: features.shape[2]]).float()[None]
    vocoder = GriffinLim(spec)
    log = [
        vocoder.stft(torch.as_tensor(w)[None, : spec.samples(features.shape[2])]).abs().clamp(min=1e-3).log()[..., :250]
        for w in (wave, vocoder(features, f0)[0], vocoder(features)[0])
    ]
    known, unknown = ((log[0] - other).abs().mean() for other in log[1:])
    assert known < 0.8 * unknown


def test_other_starts_ignore_the_pitch() -> None:
    spec = load_preset("mel_22k")
    features, f0 = torch.randn(1, 80, 30) - 5, torch.full((1, 30), 120.0)
    for init in ("random", "zero"):
        vocoder = GriffinLim(spec, iterations=2, init=init)
        assert torch.equal(vocoder(features, f0), vocoder(features))
    assert torch.equal(
        GriffinLim(spec, iterations=2)(features), GriffinLim(spec, iterations=2, init="random")(features)
    )
