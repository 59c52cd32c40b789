"""FeatureSpec: everything that decides what the numbers in a feature matrix mean."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from math import log, log10
from typing import Annotated, Any, Literal

from pydantic import Field

from revoice.errors import UserError
from revoice.settings import Flag, Fraction, NotNegative, Number, Positive, Seed, Whole, from_mapping, settings

# Fields that say how features are stored or undone, not what they mean: outside the fingerprint.
NOT_ACOUSTIC = ("storage", "mel_inverse", "dither_seed")

OVERLAP = 256  # hops in a window: beyond, hours for a second of sound
FILTERS = 1 << 24  # numbers in the matrix of mel filters; 512 bands of 2,048 samples have half a million


@settings
class FeatureSpec:
    """How a waveform becomes a feature matrix (F, T) and back. Immutable; equal specs have equal fingerprints.

    The steps, in the order they are applied (a step at its default does nothing):

    1. waveform: `tail`, `highpass`, `gain`, `dither`, `peak`, `preemphasis`;
    2. STFT: `n_fft`, `hop`, `win`, `window`, `padding`, `pad_mode`;
    3. magnitude `sqrt(re^2 + im^2 + epsilon) ** power`, without its `drop_top` highest bins;
    4. `mels` triangular bands (0: linear bins);
    5. `scale`, `floor`, `reference`, `top_db`, then `multiply * y + add`, then `clip`;
    6. with `phase`: F further rows, angle / (2 pi) + 0.5, below the magnitude rows.

    Attributes:
        sample_rate: Hz.
        tail: value of one sample appended when the length is a multiple of `hop` (0: never).
        highpass: cut-off in Hz of a zero-phase Butterworth high-pass (0: none).  highpass_order: its order.
        gain: factor on the waveform.  dither: width of uniform noise added (numpy `RandomState(dither_seed)`).
        peak: peak-normalize to this value (0: leave the level).
        preemphasis: coefficient c of x[t] - c x[t-1]; the first sample is kept.
        win: window length in samples, centered in `n_fft`.
        padding: "center" (n_fft / 2 on both sides: frame t is centered on sample t * hop, S // hop + 1 frames) or
            "same" ((n_fft - hop) / 2: frame t is centered on (t + 1/2) hop, S // hop frames).
        mel_norm: "slaney" (unit area) or "none" (unit peak).  fmax: Hz, None is half the sample rate.
        scale: "linear", "log" (natural), "db" (20 log10 of a magnitude, 10 log10 of a power), "log1p".
        floor: smallest value inside the logarithm, by `floor_rule` "max" (max(x, floor)) or "add" (x + floor).
        reference: "utterance" divides by the loudest value of the utterance.
        top_db: with scale "db", everything further than this under the utterance's maximum is raised to that level.
        clip: (lowest, highest) final value.
        storage: dtype of stored features.  mel_inverse: how `to_magnitude` undoes the mel bands.
    """

    sample_rate: Annotated[Whole, Field(ge=1, le=768_000)]
    n_fft: Annotated[Whole, Field(ge=2, le=1 << 17)]
    hop: Annotated[Whole, Field(ge=1, le=1 << 17)]
    win: Annotated[Whole, Field(ge=2, le=1 << 17)]
    tail: Number = 0.0
    highpass: NotNegative = 0.0
    highpass_order: Annotated[Whole, Field(ge=1, le=20)] = 5
    gain: Positive = 1.0
    dither: NotNegative = 0.0
    dither_seed: Seed = 0
    peak: NotNegative = 0.0
    preemphasis: Fraction = 0.0
    window: Literal["hann", "hamming"] = "hann"
    padding: Literal["center", "same"] = "center"
    pad_mode: Literal["reflect", "constant"] = "reflect"
    power: Annotated[Whole, Field(ge=1, le=2)] = 1
    epsilon: NotNegative = 0.0
    drop_top: Annotated[Whole, Field(ge=0, le=1 << 16)] = 0
    phase: Flag = False
    mels: Annotated[Whole, Field(ge=0, le=1 << 16)] = 0
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"
    fmin: NotNegative = 0.0
    fmax: Positive | None = None
    scale: Literal["linear", "log", "db", "log1p"] = "log"
    floor: Number = 1e-5
    floor_rule: Literal["max", "add"] = "max"
    reference: Literal["absolute", "utterance"] = "absolute"
    top_db: Number | None = None
    multiply: Number = 1.0
    add: Number = 0.0
    clip: tuple[Number, Number] | None = None
    storage: Literal["float16", "float32"] = "float16"
    mel_inverse: Literal["nonnegative", "pinv", "transpose"] = "nonnegative"

    def __post_init__(self) -> None:
        nyquist = self.sample_rate / 2
        rules = [
            (self.n_fft <= OVERLAP * self.hop, f"n_fft must be at most {OVERLAP} hops"),
            (self.mels <= self.bins, f"mels must be 0..{self.bins}, not {self.mels}"),
            (
                self.mels * self.bins <= FILTERS,
                f"mels ({self.mels}) times bins ({self.bins}) must be at most {FILTERS}",
            ),
            (self.n_fft % 2 == 0, f"n_fft must be even, not {self.n_fft}"),
            (self.win <= self.n_fft, f"win must be 2..n_fft ({self.n_fft}), not {self.win}"),
            (self.hop <= self.win, f"hop ({self.hop}) must not exceed win ({self.win})"),
            (self.padding != "same" or (self.n_fft - self.hop) % 2 == 0, "padding 'same' needs n_fft - hop even"),
            (self.fmin < self.top_frequency <= nyquist, f"0 <= fmin < fmax <= {nyquist:g} must hold"),
            (self.drop_top < self.n_fft // 2, f"drop_top must be 0..{self.n_fft // 2 - 1}"),
            (not (self.phase and (self.mels or self.power != 1)), "phase needs mels 0 and power 1"),
            (not (self.mels and self.drop_top), "drop_top needs linear bins (mels 0)"),
            (self.scale in ("linear", "log1p") or self.floor > 0, "a logarithmic scale needs floor > 0"),
            (self.top_db is None or self.scale == "db", "top_db needs scale 'db'"),
            (self.multiply != 0, "multiply must not be 0"),
            (
                self.highpass == 0 or 1 <= self.highpass < nyquist,
                f"highpass must be 0 or 1..{nyquist:g} Hz, not {self.highpass:g}",
            ),
        ]
        for holds, message in rules:
            if not holds:
                raise UserError(f"features: {message}")

    @property
    def bins(self) -> int:
        """Bins of the full STFT, n_fft / 2 + 1."""
        return self.n_fft // 2 + 1

    @property
    def rows(self) -> int:
        """Magnitude rows: mel bands or kept linear bins."""
        return self.mels or self.bins - self.drop_top

    @property
    def channels(self) -> int:
        """F, the height of the feature matrix (twice `rows` when it carries phase)."""
        return self.rows * (2 if self.phase else 1)

    @property
    def frame_rate(self) -> float:
        """Feature frames per second, not always a whole number."""
        return self.sample_rate / self.hop

    @property
    def top_frequency(self) -> float:
        """Upper edge of the highest mel band, Hz."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax

    @property
    def pad(self) -> int:
        """Samples padded on each side before framing."""
        return self.n_fft // 2 if self.padding == "center" else (self.n_fft - self.hop) // 2

    @property
    def frame_offset(self) -> int:
        """Sample on which frame 0 is centered: 0, or hop // 2 for padding "same"."""
        return 0 if self.padding == "center" else self.hop // 2

    def frames(self, samples: int) -> int:
        """T of a waveform of `samples` samples.

        >>> FeatureSpec(sample_rate=16000, n_fft=1024, hop=256, win=1024).frames(2560)
        11
        """
        return samples // self.hop + (1 if self.padding == "center" else 0)

    def samples(self, frames: int) -> int:
        """Length of the waveform that a vocoder makes of `frames` frames."""
        return self.hop * (frames - 1 if self.padding == "center" else frames)

    @cached_property
    def silence(self) -> float:
        """Value of a magnitude row in digital silence: what padding frames hold."""
        value = 0.0
        if self.scale == "log":
            value = log(self.floor)
        if self.scale == "db":
            value = (10.0 if self.power == 2 else 20.0) * log10(self.floor)
            if self.reference == "utterance" and self.top_db is not None:
                value = max(value, -self.top_db)
        value = self.multiply * value + self.add
        return min(max(value, self.clip[0]), self.clip[1]) if self.clip else value

    @property
    def silence_frame(self) -> tuple[float, ...]:
        """One frame (F,) of silence; phase rows hold 0.5, the angle 0."""
        return (self.silence,) * self.rows + (0.5,) * (self.channels - self.rows)

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over the acoustic fields: equal exactly where features are interchangeable.

        Fields at their default are left out, so that a field added later does not change old fingerprints.
        """
        defaults = {f.name: f.default for f in fields(self)}
        values = {name: value for name, value in self._acoustic().items() if value != defaults[name]}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def frame_rule(self) -> dict[str, Any]:
        """What decides where frames lie: specs that agree on it share the fields that depend on nothing else."""
        return {"sample_rate": self.sample_rate, "hop": self.hop, "padding": self.padding}

    def _acoustic(self) -> dict[str, Any]:
        values = {name: value for name, value in self.to_dict().items() if name not in NOT_ACOUSTIC}
        values["fmax"] = self.top_frequency if self.mels else None
        if not self.mels:  # mel settings say nothing about linear bins
            values.update(mel_scale="slaney", mel_norm="slaney", fmin=0.0)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Plain values (numbers, strings, lists, None) that `from_dict` takes back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FeatureSpec":
        """A spec from plain values; an unknown, missing or impossible one is a `UserError`."""
        return from_mapping(cls, values, "features")

    def differences(self, other: "FeatureSpec") -> list[str]:
        """Acoustic fields that differ, readable: `["hop: 256 != 300"]`."""
        mine, theirs = self._acoustic(), other._acoustic()
        different = [name for name in mine if mine[name] != theirs[name]]
        return [f"{name}: {_shown(mine[name])} != {_shown(theirs[name])}" for name in different]

    def require_match(self, other: "FeatureSpec", who_self: str, who_other: str) -> None:
        """Raise a `UserError` that names the differing fields unless both specs mean the same features."""
        different = self.differences(other)
        if different:
            named = ", ".join(different)
            raise UserError(f"{who_self} and {who_other} use different features ({who_self} first): {named}")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
