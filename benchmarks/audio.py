"""Feature extraction against librosa, and speaker embeddings against the package resemblyzer, in one run.

    python benchmarks/audio.py [--threads 1]

Numbers are seconds of audio per second of work, and clips of 3 s per second.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from revoice.audio.features import FeatureExtractor
from revoice.audio.presets import load_preset, preset_names
from revoice.audio.speaker import SpeakerEncoder
from revoice.audio.spec import FeatureSpec


def best(function: Callable[[], object], repeats: int = 3) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def librosa_features(wave: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    import librosa

    sizes = {"n_fft": spec.n_fft, "hop_length": spec.hop, "win_length": spec.win, "pad_mode": spec.pad_mode}
    if spec.mels:
        bands = {"n_mels": spec.mels, "fmin": spec.fmin, "fmax": spec.top_frequency}
        values = librosa.feature.melspectrogram(y=wave, sr=spec.sample_rate, power=1, **bands, **sizes)
    else:
        spectrum = librosa.stft(wave, **sizes)
        values = np.abs(spectrum)
        if spec.phase:
            return np.concatenate([np.log(values + 1e-6), np.angle(spectrum)])
    return np.log(np.maximum(values, 1e-5))


def compare_features() -> None:
    generator = np.random.default_rng(0)
    print(f"{'features':<20}{'revoice':>10}{'librosa':>10}{'ratio':>8}")
    for name in preset_names():
        spec = load_preset(name)
        clips = generator.normal(0, 0.1, (4, 8 * spec.sample_rate)).astype(np.float32)
        extractor, batch = FeatureExtractor(spec), torch.from_numpy(clips)
        with torch.inference_mode():
            ours = best(lambda e=extractor, b=batch: e(b))
        theirs = best(lambda c=clips, s=spec: [librosa_features(clip, s) for clip in c])
        print(f"{name:<20}{32 / ours:>8.0f} x{32 / theirs:>8.0f} x{theirs / ours:>7.1f}x")


def compare_embeddings() -> None:
    import resemblyzer

    generator = np.random.default_rng(0)
    time_axis = np.arange(48000) / 16000
    buzz = sum(np.sin(2 * np.pi * 130 * k * time_axis) / k for k in range(1, 30))
    clips = [(0.1 * buzz + generator.normal(0, 0.01, 48000)).astype(np.float32) for _ in range(64)]
    encoder, package = SpeakerEncoder(), resemblyzer.VoiceEncoder("cpu", verbose=False)
    ours = len(clips) / best(lambda: encoder.embed(clips), repeats=1)
    some = clips[:8]
    theirs = len(some) / best(lambda: [package.embed_utterance(resemblyzer.preprocess_wav(c)) for c in some], repeats=1)
    print(f"3 s clips embedded per second: revoice {ours:.0f}, resemblyzer {theirs:.0f}, ratio {ours / theirs:.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    print(f"{threads} thread(s)")
    compare_features()
    compare_embeddings()


if __name__ == "__main__":
    main()
