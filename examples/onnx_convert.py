"""Convert a voice without torch: numpy, soundfile and onnxruntime alone.

    revoice-export ckpt=RUN out=model.onnx
    revoice-export ckpt=VOCODER_RUN out=vocoder.onnx                                      # if there is one
    python onnx_convert.py model.onnx source.wav target.wav out.wav [--vocoder vocoder.onnx]

Without a vocoder the phases are found by Griffin-Lim. `model.json` and `model.npz` lie beside the model: what its
features are, and the analysis window and mel filters as numbers.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

LOWEST, HIGHEST, CLEAR = 60.0, 400.0, 0.45  # Hz of a voice, and how alike its periods are at least
KNOWN = {
    "highpass": 0.0,
    "dither": 0.0,
    "peak": 0.0,
    "tail": 0.0,
    "drop_top": 0,
    "phase": False,
    "reference": "absolute",
}


class Features:
    """Waveforms to features (F, T) and back to magnitudes, as a description says."""

    def __init__(self, spec: dict, numbers: dict) -> None:
        for name, only in KNOWN.items():
            if spec[name] != only:
                raise SystemExit(f"features with {name}={spec[name]}: this example does without")
        self.spec, self.window, self.mel = spec, numbers["window"], numbers.get("mel")
        size, hop = spec["n_fft"], spec["hop"]
        self.pad = size // 2 if spec["padding"] == "center" else (size - hop) // 2

    def spectrum(self, wave: np.ndarray) -> np.ndarray:
        """Samples (S,) -> complex (T, n_fft / 2 + 1)."""
        padded = np.pad(wave, self.pad, mode="reflect" if self.spec["pad_mode"] == "reflect" else "constant")
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.spec["n_fft"])[:: self.spec["hop"]]
        return np.fft.rfft(frames * self.window)

    def analyze(self, wave: np.ndarray) -> np.ndarray:
        """Samples (S,) -> features (F, T)."""
        s = self.spec
        wave = wave * s["gain"]
        wave = np.concatenate([wave[:1], wave[1:] - s["preemphasis"] * wave[:-1]])
        values = np.sqrt(np.abs(self.spectrum(wave)) ** 2 + s["epsilon"]) ** s["power"]
        values = values @ self.mel if self.mel is not None else values
        if s["scale"] == "log1p":
            values = np.log1p(values)
        elif s["scale"] != "linear":
            values = np.log(values + s["floor"] if s["floor_rule"] == "add" else np.maximum(values, s["floor"]))
            values = values * (20 / np.log(10) / s["power"]) if s["scale"] == "db" else values
        if s["top_db"] is not None:
            values = np.maximum(values, values.max() - s["top_db"])
        values = values * s["multiply"] + s["add"]
        return (np.clip(values, *s["clip"]) if s["clip"] else values).T.astype(np.float32)

    def magnitudes(self, features: np.ndarray) -> np.ndarray:
        """Features (F, T) -> magnitudes (T, n_fft / 2 + 1)."""
        s, values = self.spec, (features.T.astype(np.float64) - self.spec["add"]) / self.spec["multiply"]
        if s["scale"] == "log1p":
            values = np.expm1(values)
        elif s["scale"] != "linear":
            values = np.exp(values * (s["power"] * np.log(10) / 20) if s["scale"] == "db" else values)
        if self.mel is not None:  # bands to bins that would give them, found by multiplying
            bins = values @ self.mel.T
            for _ in range(50):
                bins *= (values @ self.mel.T) / np.maximum(bins @ self.mel @ self.mel.T, 1e-12)
            values = bins
        return np.maximum(values, 0) ** (1 / s["power"])

    def overlap_add(self, spectrum: np.ndarray) -> np.ndarray:
        """Complex (T, n_fft / 2 + 1) -> samples, those whose STFT is nearest."""
        size, hop, frames = self.spec["n_fft"], self.spec["hop"], len(spectrum)
        made, weight = (np.zeros(size + hop * (frames - 1)) for _ in range(2))
        for i, piece in enumerate(np.fft.irfft(spectrum, n=size) * self.window):
            made[i * hop : i * hop + size] += piece
            weight[i * hop : i * hop + size] += self.window**2
        length = hop * (frames - 1 if self.spec["padding"] == "center" else frames)
        return (made / np.maximum(weight, 1e-8))[self.pad : self.pad + length]

    def griffin_lim(self, features: np.ndarray, iterations: int = 32) -> np.ndarray:
        """Features (F, T) -> samples, by alternating projections with momentum (Perraudin et al., 2013)."""
        magnitude = self.magnitudes(features)
        angle = np.random.default_rng(0).uniform(0, 2 * np.pi, magnitude.shape)
        guess, before = magnitude * np.exp(1j * angle), None
        for _ in range(iterations):
            reached = self.spectrum(self.overlap_add(guess))[: len(magnitude)]
            ahead = reached if before is None else reached - 0.4975 * before
            before, guess = reached, magnitude * ahead / np.maximum(np.abs(ahead), 1e-8)
        wave, c = self.overlap_add(guess), self.spec["preemphasis"]
        for i in range(1, len(wave)) if c else ():
            wave[i] += c * wave[i - 1]
        return wave / self.spec["gain"]


def read(path: str, rate: int) -> np.ndarray:
    """Samples of a recording, mono, at another rate if need be (its spectrum cut or continued with zeros)."""
    wave, own = soundfile.read(path, always_2d=True)
    wave = wave.mean(axis=1)
    size = round(len(wave) * rate / own)
    return np.fft.irfft(np.fft.rfft(wave)[: size // 2 + 1], n=size) * (size / len(wave)) if own != rate else wave


def pitch(wave: np.ndarray, spec: dict, frames: int) -> np.ndarray:
    """Hz of every frame (T,), 0 where unvoiced: the highest peak of the normalized autocorrelation."""
    rate, hop = spec["sample_rate"], spec["hop"]
    short, long = int(rate / HIGHEST), int(rate / LOWEST)
    first = 0 if spec["padding"] == "center" else hop // 2
    padded = np.pad(wave, 2 * long)
    found = np.zeros(frames, np.float32)
    for i in range(frames):
        piece = padded[first + i * hop + long : first + i * hop + 3 * long]
        energy = np.concatenate([[0.0], np.cumsum(piece**2)])
        ahead = energy[-1] - energy[: long + 1]  # of what is left behind each lag
        alike = np.fft.irfft(np.abs(np.fft.rfft(piece, 4 * long)) ** 2)[: long + 1]
        alike = alike / np.sqrt(np.maximum(ahead * energy[::-1][: long + 1], 1e-12))
        lag = short + int(np.argmax(alike[short : long + 1]))
        found[i] = rate / lag if alike[lag] > CLEAR and energy[-1] > 1e-4 else 0.0
    return found


def clip(path: str, side: str, about: dict, features: Features) -> dict:
    """What a graph asks of a recording; clips that are too short are continued with silence."""
    spec = features.spec
    wave = read(path, spec["sample_rate"])
    wave = np.pad(wave, (0, max(0, (about["onnx"]["shortest"] + 1) * spec["hop"] - len(wave))))
    made = features.analyze(wave)
    known = {f"{side}_features": made[None]}
    if f"{side}_f0" in about["onnx"]["inputs"]:
        known[f"{side}_f0"] = pitch(wave, spec, made.shape[1])[None]
    return known


def meaning(spec: dict) -> dict:
    """Of a description of features, what decides what the numbers mean."""
    told = {name: value for name, value in spec.items() if name not in ("storage", "mel_inverse", "dither_seed")}
    return told | {"fmax": spec["fmax"] or spec["sample_rate"] / 2}


def speak(path: str, converted: np.ndarray, spec: dict) -> np.ndarray:
    """Features (1, F, T) -> samples, by the graph of a vocoder that learned from the same features."""
    about = json.loads(Path(path).with_suffix(".json").read_text())
    ours, theirs = meaning(spec), meaning(about["features"])
    if others := [name for name in ours if ours[name] != theirs.get(name)]:
        raise SystemExit(f"{path} speaks other features than the model's: {', '.join(others)} differ")
    inputs = {"features": converted}
    if "noise" in about["onnx"]["inputs"]:  # of WaveGlow: (1, groups, "N * frames")
        _, groups, length = about["onnx"]["inputs"]["noise"]
        size = int(length.split(" * ")[0]) * converted.shape[2]
        drawn = np.random.default_rng(0).standard_normal((1, groups, size))
        inputs["noise"] = (drawn * about["arguments"].get("sigma", 0.6)).astype(np.float32)
    return onnxruntime.InferenceSession(path).run(None, inputs)[0][0]


def main() -> None:
    """Convert one recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "source", "target", "out"):
        parser.add_argument(name)
    parser.add_argument("--vocoder", help="a graph of the same features")
    given = parser.parse_args()
    about = json.loads(Path(given.model).with_suffix(".json").read_text())
    features = Features(about["features"], dict(np.load(Path(given.model).with_suffix(".npz"))))
    inputs = {**clip(given.source, "source", about, features), **clip(given.target, "target", about, features)}
    if lacking := about["onnx"]["inputs"].keys() - inputs.keys():
        raise SystemExit(f"{given.model} asks for {', '.join(sorted(lacking))}: this example does without")
    converted = onnxruntime.InferenceSession(given.model).run(None, inputs)[0]
    if given.vocoder:
        wave = speak(given.vocoder, converted, features.spec)
    else:
        wave = features.griffin_lim(converted[0])
    loudest = max(1.0, float(np.abs(wave).max()))
    soundfile.write(given.out, wave / loudest, about["features"]["sample_rate"])


if __name__ == "__main__":
    main()
