"""AdaIN-VC's feature function and its way back to a waveform."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from revoice.audio.features import FeatureExtractor
from revoice.audio.mel import mel_basis, transpose_inverse
from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import Stft
from revoice.audio.trim import trim_silence
from revoice.interop.cases import Distance, Result, case
from revoice.interop.cases.features import features, padded
from revoice.interop.fixture import Fixture
from revoice.vocoders.griffin_lim import griffin_lim, initial_phase

_EXACT_ITERATIONS = 10  # beyond, Griffin-Lim amplifies rounding so far that samples say nothing
_SPECTRAL_TOLERANCE = 0.01  # relative difference of spectral convergences


@case("adain_features")
def adain_features(fixture: Fixture) -> Mapping[str, Result]:
    """Trim, pre-emphasis, 512-band mel in [0, 1]; `mel_<pad mode>`, and `mag_<pad mode>_first<n>` without mel bands."""
    spec = adain_spec(fixture)
    wav = fixture.input("wav")
    kept = trim_silence(wav.numpy(), spec.sample_rate, fixture.setting("top_db"))
    wav = wav[kept.start : kept.end]
    results: dict[str, Result] = {"trim_index": torch.tensor([kept.start, kept.end])}
    for name in fixture.outputs:
        if found := re.fullmatch(r"mel_(reflect|constant)", name):
            results[name] = features(wav, padded(spec, found[1]), torch.float64).T
        if found := re.fullmatch(r"mag_(reflect|constant)_first(\d+)", name):
            linear = replace(padded(spec, found[1]), mels=0, fmax=None)
            results[name] = features(wav, linear, torch.float64).T[: int(found[2])]
    return results


@case("adain_inverse")
def adain_inverse(fixture: Fixture) -> Mapping[str, Result]:
    """Mel to linear magnitude, classic Griffin-Lim (`griffinlim_<pad mode>_<iterations>`), the whole way (`wav_...`).

    Griffin-Lim starts from the recorded linear magnitude, so that each stage is judged by itself.
    """
    spec = adain_spec(fixture)
    extractor = FeatureExtractor(spec, torch.float64)
    matrix = transpose_inverse(torch.from_numpy(mel_basis(spec)))
    linear = extractor.to_magnitude(fixture.input("mel_norm").T[None].double())[0]
    results: dict[str, Result] = {"linear": linear, "matrix_colsum": matrix.sum(0), "matrix_rowsum": matrix.sum(1)}
    recorded = fixture.outputs.get("linear", linear.float())
    for name in fixture.outputs:
        if found := re.fullmatch(r"(griffinlim|wav)_(reflect|constant)_(\d+)", name):
            run = _GriffinLimRun(padded(spec, found[2]), recorded, int(found[3]))
            results[name] = _waveform(run, extractor) if found[1] == "wav" else run.compare(fixture.outputs[name])
    return results


def adain_spec(fixture: Fixture) -> FeatureSpec:
    """The fixture's settings as a spec: (dB - ref + max) / max is an offset and a factor."""
    get = fixture.setting
    return replace(
        load_preset("adain_24k"),
        sample_rate=get("sr"),
        preemphasis=get("preemphasis"),
        n_fft=get("n_fft"),
        hop=get("hop_length"),
        win=get("win_length"),
        mels=get("n_mels"),
        fmax=get("sr") / 2,
        floor=get("floor"),
        multiply=1.0 / get("max_db"),
        add=(get("max_db") - get("ref_db")) / get("max_db"),
        clip=tuple(get("clip")),
    )


@dataclass(frozen=True)
class _GriffinLimRun:
    """Classic Griffin-Lim from zero phase on a recorded magnitude (bins, T)."""

    spec: FeatureSpec
    magnitude: Tensor
    iterations: int

    def ours(self) -> Tensor:
        """Our loop in float64, (S,)."""
        magnitude = self.magnitude.T[None].double()
        start = initial_phase(magnitude, "zero", 0)
        return griffin_lim(magnitude, Stft(self.spec, torch.float64), start, self.iterations)[0]

    def in_published_precision(self) -> Tensor:
        """Our float64 result plus the rounding errors of the published single-precision arithmetic.

        Those errors reach the stated tolerance after three iterations; they are the difference between the published
        loop run on librosa in single and in double precision, so a deviation of ours still shows in full.
        """
        single, double = (_published_loop(self, t) for t in (np.complex64, np.complex128))
        return self.ours() + torch.from_numpy(single.astype(np.float64) - double)

    def compare(self, expected: Tensor) -> Result:
        """Samples after few iterations, the spectral convergence after many."""
        if self.iterations <= _EXACT_ITERATIONS:
            return self.in_published_precision()
        ours = self.ours()
        if ours.shape != expected.shape:
            return ours
        mine, theirs = self._convergence(ours), self._convergence(expected.double())
        apart = float((ours - expected).abs().max())
        note = f"spectral convergence {mine:.4f} against {theirs:.4f}; samples differ by {apart:.1e}"
        return Distance(abs(mine - theirs), _SPECTRAL_TOLERANCE * theirs, note)

    def _convergence(self, wav: Tensor) -> float:
        wanted = self.magnitude.T.double()
        found = Stft(self.spec, torch.float64)(wav[None])[0].abs()
        return float((found - wanted).norm() / wanted.norm())


def _waveform(run: _GriffinLimRun, extractor: FeatureExtractor) -> Tensor:
    wav = extractor.invert_waveform(run.in_published_precision()[None])[0]
    kept = trim_silence(wav.numpy(), run.spec.sample_rate, top_db=60)
    return wav[kept.start : kept.end]


def _published_loop(run: _GriffinLimRun, dtype: type[np.complexfloating]) -> np.ndarray:
    """Classic Griffin-Lim on librosa's transforms in the given precision, (S,)."""
    import librosa

    spec, real = run.spec, np.zeros((), dtype).real.dtype
    sizes: dict[str, Any] = {"hop_length": spec.hop, "win_length": spec.win, "window": spec.window}
    padding: dict[str, Any] = {"pad_mode": spec.pad_mode}
    magnitude = run.magnitude.numpy().astype(real)
    wav = librosa.istft(magnitude.astype(dtype), dtype=real, n_fft=spec.n_fft, **sizes)
    for _ in range(run.iterations):
        estimate = librosa.stft(wav, n_fft=spec.n_fft, dtype=dtype, **sizes, **padding)
        phase = estimate / np.maximum(1e-8, np.abs(estimate)).astype(real)
        wav = librosa.istft((magnitude * phase).astype(dtype), dtype=real, n_fft=spec.n_fft, **sizes)
    return wav
