"""Convert a voice without torch: numpy, soundfile and onnxruntime alone.

    revoice-export ckpt=default out=voice.onnx             # the converter that ships; or ckpt=RUN
    revoice-export ckpt=VOCODER_RUN out=vocoder.onnx       # if there is one
    python onnx_convert.py voice.onnx source.wav target.wav out.wav [--vocoder vocoder.onnx] [--emotion sad]

Without a vocoder the phases are found by Griffin-Lim. `voice.json` and `voice.npz` lie beside the model: what its
features are, and the analysis window and mel filters as numbers; and, where it asks for them, `voice.embedding.onnx`,
which tells who speaks, and `voice.f0.onnx`, which finds the pitch.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

CHUNK, REACH, CONTEXT = 20.0, 3.0, 1.0  # seconds of a long source heard at once, about; moved, and heard around it
CANCELED = 1e-3  # power of the mean of channels against that of the loudest one
FED = {f"{side}_{name}" for side in ("source", "target") for name in ("features", "f0", "waveform", "embedding")}
FED |= {"emotion"}
KNOWN = {
    "highpass": 0.0, "dither": 0.0, "peak": 0.0, "tail": 0.0, "drop_top": 0, "phase": False, "reference": "absolute"
}  # fmt: skip


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


def resampled(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at another rate: their spectrum cut, or continued with zeros."""
    size = max(1, round(len(wave) * wanted / rate))
    return np.fft.irfft(np.fft.rfft(wave)[: size // 2 + 1], n=size) * (size / len(wave))


def read(path: str, rate: int) -> np.ndarray:
    """Samples of a recording at a rate: the mean of its channels, or the loudest where they cancel each other out."""
    try:
        wave, own = soundfile.read(path, always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SystemExit(f"{path}: {error}") from error
    if not np.isfinite(wave).all() or not wave.any():  # no samples are no sound either
        raise SystemExit(f"{path}: is silent, or has samples that are no numbers")
    power, mean = (wave**2).mean(axis=0), wave.mean(axis=1)
    mono = wave[:, power.argmax()] if (mean**2).mean() < CANCELED * power.max() else mean
    return resampled(mono, own, rate) if own != rate else mono


def pitch(wave: np.ndarray, frames: int, model: Path, about: dict) -> np.ndarray:
    """Hz of every frame (T,), 0 where unvoiced, by the graph beside the model."""
    known, hop = about["onnx"]["f0"], about["features"]["hop"]
    whole = np.pad(wave, (0, max(-len(wave) % hop, known["shortest"] * hop - len(wave))))
    session = onnxruntime.InferenceSession(model.with_name(known["graph"]))
    found = session.run(None, {"waveform": whole[None].astype(np.float32)})[0][0]
    return np.pad(found, (0, max(0, frames - len(found))))[:frames]


def loud(wave: np.ndarray, size: int, under: float) -> np.ndarray:
    """Of every `size` samples whether they are less than `under` dB below the loudest (N,)."""
    level = np.sqrt(np.mean(wave[: len(wave) // size * size].reshape(-1, size) ** 2, axis=1))
    return level > level.max(initial=0.0) * 10 ** (-under / 20)


def trimmed(wave: np.ndarray, under: float | None) -> np.ndarray:
    """A recording without the silence at its ends."""
    there = np.flatnonzero(loud(wave, 512, under)) if under else []
    return wave[there[0] * 512 : (there[-1] + 1) * 512] if len(there) else wave


def leveled(wave: np.ndarray, rate: int) -> np.ndarray:
    """A recording; one whose speech, without its pauses, is softer than -34 dB or louder than -12 dB, at -22 dB."""
    size = round(0.02 * rate)
    power = wave[: len(wave) // size * size].reshape(-1, size).var(axis=1) if len(wave) >= size else np.zeros(1)
    speech = power[power >= 0.1 * power.mean()].mean()
    return wave * np.sqrt(10**-2.2 / speech) if speech and not 10**-3.4 <= speech <= 10**-1.2 else wave


def embedding(wave: np.ndarray, model: Path, about: dict) -> np.ndarray:
    """Who speaks (1, 256), by the graph beside the model: of what is left without pauses."""
    size, shortest = int(0.03 * about["features"]["sample_rate"]), about["onnx"]["embedding"]["shortest"]
    wave = np.pad(wave, (0, max(0, shortest - len(wave))))
    near = np.convolve(loud(wave, size, 30.0), np.ones(7), mode="same") > 0  # and 90 ms around it
    said = wave[: len(near) * size][np.repeat(near, size)]
    said = np.pad(said, (0, max(0, shortest - len(said))))
    session = onnxruntime.InferenceSession(model.with_name(about["onnx"]["embedding"]["graph"]))
    return session.run(None, {"waveform": said[None].astype(np.float32)})[0]


def clip(wave: np.ndarray, side: str, about: dict, features: Features, model: Path) -> dict:
    """What a graph asks of a recording, by name; clips that are too short are continued with silence."""
    spec, asked = features.spec, about["onnx"]["inputs"]
    hop, least = spec["hop"], about["onnx"]["shortest"] + 1
    padded = np.pad(wave, (0, max(-len(wave) % hop, least * hop - len(wave))))
    made = features.analyze(padded)
    known = {f"{side}_features": made[None]}
    if f"{side}_f0" in asked:
        known[f"{side}_f0"] = pitch(padded, made.shape[1], model, about)[None]
    if f"{side}_waveform" in asked:
        size = made.shape[1] * hop
        known[f"{side}_waveform"] = np.pad(padded, (0, max(0, size - len(padded))))[None, :size].astype(np.float32)
    if f"{side}_embedding" in asked:
        known[f"{side}_embedding"] = embedding(wave, model, about)
    return {name: value for name, value in known.items() if name in asked}


def level(f0: np.ndarray) -> float:
    """Mean logarithm of a contour where it is voiced; nan where nothing is."""
    return float(np.log(f0[f0 > 0]).mean()) if (f0 > 0).any() else float("nan")


def shift(f0: np.ndarray, other: np.ndarray) -> float:
    """How far the level of a contour is above that of another, in nepers; 0 where one has none."""
    return float(np.nan_to_num(level(f0) - level(other)))


def melody(source: dict, target: dict) -> np.ndarray | None:
    """The contour (T,) of what is said: the source's, at the target's level; None where nobody tells a pitch."""
    if "source_f0" not in source or "target_f0" not in target:
        return None
    return source["source_f0"][0] * np.exp(shift(target["target_f0"], source["source_f0"]))


def cuts(wave: np.ndarray, spec: dict, frames: int, longest: int | None) -> list[int]:
    """Frames that pieces of a source begin with, and the last one ends with: quiet ones, if it is too long."""
    if longest is None or frames <= longest:
        return [0, frames]
    second = spec["sample_rate"] / spec["hop"]
    power = np.pad(wave, (0, frames * spec["hop"]))[: frames * spec["hop"]].reshape(frames, -1).var(axis=1)
    smooth, near = np.convolve(power, np.ones(9), mode="same"), int(REACH * second)
    count = int(np.ceil(frames / (CHUNK * second)))
    even = [i * frames // count for i in range(1, count)]
    return [0, *(at - near + int(smooth[at - near : at + near].argmin()) for at in even), frames]


def converted(model: Path, about: dict, wave: np.ndarray, source: dict, target: dict) -> np.ndarray:
    """Features (1, F, T): of a long source piece after piece, each heard with a second around it."""
    session, spec = onnxruntime.InferenceSession(model), about["onnx"]
    per_frame = {name: [int(n.split(" * ")[0]) for n in spec["inputs"][name] if "frames" in str(n)] for name in source}
    growing = {name: sizes[0] for name, sizes in per_frame.items() if sizes}  # samples or values per frame
    frames = min(source[name].shape[-1] // size for name, size in growing.items())
    bounds, made = cuts(wave, about["features"], frames, spec.get("longest")), []
    more = int(CONTEXT * about["features"]["sample_rate"] / about["features"]["hop"])
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        low, high = max(0, first - more), min(frames, last + more)
        piece = {**source, **{name: source[name][..., low * n : high * n] for name, n in growing.items()}}
        aim = dict(target)
        if "source_f0" in piece and "target_f0" in aim:  # a piece has no level of its own, the recording has
            moved = shift(piece["source_f0"], source["source_f0"])
            aim["target_f0"] = aim["target_f0"] * np.float32(np.exp(moved))
        made.append(session.run(None, {**piece, **aim})[0][..., first - low : last - low])
    return np.concatenate(made, axis=2)


def tone(model: Path, about: dict, wave: np.ndarray, target: dict, features: Features, made: np.ndarray) -> np.ndarray:
    """What a conversion (1, F, T) lacks (F, T): what a copy of the target in its own voice lacks of it, on average and
    where it sounds alike; 0 where no model does."""
    how, spec = about["onnx"].get("tone"), about["features"]
    if how is None:
        return np.zeros((1, 1))
    wave = wave[: int(how["seconds"] * spec["sample_rate"])]
    bounds = spec["clip"] or (-np.inf, np.inf)
    heard, copy, said = (
        (np.clip(each.astype(np.float64), *bounds) - spec["add"]) / how["unit"]
        for each in (
            features.analyze(np.pad(wave, (0, max(0, spec["n_fft"] - len(wave))))),
            converted(model, about, wave, clip(wave, "source", about, features, model), target)[0],
            made[0],
        )
    )
    heard, copy = (each[:, : min(heard.shape[1], copy.shape[1])] for each in (heard, copy))
    level = np.log(np.exp(heard).sum(axis=0))
    there = level > np.quantile(level, how["loud"]) - how["depth"]
    own, copy = heard[:, there], copy[:, there]
    spread, center, lacking = copy.std(axis=1), copy.mean(axis=1, keepdims=True), own - copy
    trust = np.minimum(own.std(axis=1) / np.maximum(spread, 1e-3), 1) ** how["trust"]
    mean, around = lacking.mean(axis=1), copy - center
    known = trust * (mean - (trust * mean).sum() / max(trust.sum(), 1e-3)) * there.sum() / (there.sum() + how["doubt"])
    trend = np.minimum((lacking * around).mean(axis=1) / np.maximum((around**2).mean(axis=1), 1e-3), 0)
    lacking = trust[:, None] * (lacking - mean[:, None] - trend[:, None] * around)
    scale, parts = np.maximum(spread, how["smallest"])[:, None] * len(spread) ** 0.5, []
    b = around / scale
    for first in range(0, said.shape[1], 1000):
        a = (said[:, first : first + 1000] - center) / scale
        apart = np.maximum((a**2).sum(axis=0)[:, None] + (b**2).sum(axis=0) - 2 * a.T @ b, 0)  # squared (T, N)
        near = np.exp(-0.5 * apart / how["near"] ** 2)
        parts.append(lacking @ near.T / (near.sum(axis=1) + how["alone"]))
    side, local = how["either_side"], np.concatenate(parts, axis=1)
    local = np.lib.stride_tricks.sliding_window_view(
        np.pad(local, ((0, 0), (side, side)), mode="edge"), 2 * side + 1, 1
    )
    return how["unit"] * how["limit"] * np.tanh((known[:, None] + local.mean(axis=2)) / how["limit"])


def meaning(spec: dict) -> dict:
    """Of a description of features, what decides what the numbers mean."""
    told = {name: value for name, value in spec.items() if name not in ("storage", "mel_inverse", "dither_seed")}
    return told | {"fmax": spec["fmax"] or spec["sample_rate"] / 2}


def harmonics(f0: np.ndarray, spec: dict) -> np.ndarray:
    """Samples (hop * T,) of unit power: all harmonics of a contour (T,) in Hz, equally loud; gaps go on as before."""
    place = np.maximum.accumulate(np.where(f0 > 0, np.arange(len(f0)), -1))
    held = np.where(place < 0, f0[(f0 > 0).argmax()], f0[place])
    held = np.where(held > 0, held, 100.0)
    offset = 0.0 if spec["padding"] == "center" else spec["hop"] / 2  # frame t is centered on sample hop * t + offset
    samples = (np.arange(spec["hop"] * len(f0)) + 0.5 - offset) / spec["hop"]
    step = np.interp(samples, np.arange(len(f0)), held.astype(np.float64)) / spec["sample_rate"]  # periods
    half, count = np.pi * (np.cumsum(step) % 1.0), np.maximum(1.0, np.floor(0.5 / step))
    below = np.sin(half)
    kernel = np.where(below < 1e-7, 2 * count + 1, np.sin((2 * count + 1) * half) / np.maximum(below, 1e-7))
    return ((kernel - 1) / np.sqrt(2 * count)).astype(np.float32)


def described(graph: str, spec: dict | None = None) -> dict:
    """The description beside a graph, which must be of these features."""
    try:
        about = json.loads(Path(graph).with_suffix(".json").read_text())
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename}: no such file, it should lie beside the graph") from error
    ours, theirs = meaning(spec or about["features"]), meaning(about["features"])
    if others := [name for name in ours if ours[name] != theirs.get(name)]:
        raise SystemExit(f"{graph} speaks other features than the model's: {', '.join(others)} differ")
    return about


def speak(path: str, converted: np.ndarray, spec: dict, f0: np.ndarray | None = None) -> np.ndarray:
    """Features (1, F, T) and pitch (T,) in Hz -> samples, by the graph of a vocoder."""
    about = described(path, spec)
    inputs, asked = {"features": converted}, about["onnx"]["inputs"]
    if "harmonics" in asked:
        if f0 is None:
            raise SystemExit(f"{path} asks for the pitch, which this model is not told")
        inputs |= {"f0": f0[None].astype(np.float32), "harmonics": harmonics(f0, spec)[None]}
        inputs["noise"] = np.random.default_rng(0).standard_normal(inputs["harmonics"].shape).astype(np.float32)
    elif "noise" in asked:  # of WaveGlow: (1, groups, "N * frames")
        _, groups, length = asked["noise"]
        size = int(length.split(" * ")[0]) * converted.shape[2]
        drawn = np.random.default_rng(0).standard_normal((1, groups, size))
        inputs["noise"] = (drawn * about["arguments"].get("sigma", 0.6)).astype(np.float32)
    return onnxruntime.InferenceSession(path).run(None, inputs)[0][0]


def check(out: Path, *read: str) -> None:
    """Exit before the work if a file is missing, or the result cannot be written or would replace what is read."""
    if missing := [name for name in read if not Path(name).is_file()]:
        raise SystemExit(f"{missing[0]}: no such file")
    if out.exists() and any(out.samefile(name) for name in read):
        raise SystemExit(f"{out}: is what is read, give another name")
    if out.suffix[1:].upper() not in soundfile.available_formats() or not out.parent.is_dir():
        raise SystemExit(f"{out}: expected a name like out.wav, in a folder that is there")


def main(arguments: list[str] | None = None) -> None:
    """Convert one recording, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "source", "target", "out"):
        parser.add_argument(name)
    parser.add_argument("--vocoder", help="a graph of the same features")
    parser.add_argument("--emotion", help="for a graph of CodeGAN")
    given = parser.parse_args(arguments)
    model, about = Path(given.model), described(given.model)
    if others := [name for name in about["onnx"]["inputs"] if name not in FED]:
        raise SystemExit(f"{model} asks for {', '.join(others)}: this example feeds graphs of a source and a target")
    if (emotions := about["onnx"].get("emotions", [])) and given.emotion not in emotions:
        raise SystemExit(f"expected --emotion with one of {', '.join(emotions)}")
    if given.vocoder:
        described(given.vocoder, about["features"])
    check(Path(given.out), given.source, given.target, given.model, *filter(None, [given.vocoder]))
    features = Features(about["features"], dict(np.load(model.with_suffix(".npz"))))
    rate = about["features"]["sample_rate"]
    wave = read(given.source, rate)
    source = clip(leveled(wave, rate), "source", about, features, model)
    voice = leveled(trimmed(read(given.target, rate), about["trim_db"]), rate)
    target = clip(voice, "target", about, features, model)
    if emotions:
        target["emotion"] = np.array([emotions.index(given.emotion)])
    made = converted(model, about, wave, source, target)
    made = (made + tone(model, about, voice, target, features, made)).astype(np.float32)
    made = np.clip(made, *about["features"]["clip"]) if about["features"]["clip"] else made
    said = (
        speak(given.vocoder, made, features.spec, melody(source, target))
        if given.vocoder
        else features.griffin_lim(made[0])
    )
    said = said[: len(wave)] * np.sqrt(np.mean(wave**2) / max(np.mean(said**2), 1e-12))  # as loud as the source
    soundfile.write(given.out, said / max(1.0, float(np.abs(said).max())), rate)


if __name__ == "__main__":
    main()
