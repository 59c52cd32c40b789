"""Whether the phone recognizer ranks damage to real speech as another recognizer does: Spearman's correlation.

    python benchmarks/recognizer_rank.py [--real FOLDER] [--clips 8] [--judge whisper]

Every clip is degraded in some ways and strengths (noise, band limits, copies through features and Griffin-Lim, the
converter that ships). For each degradation: phone errors against what the phone recognizer hears in the clean clip, and
character errors against what the other recognizer hears there. The correlation is over degradations; a recognizer
that one may trust reaches 0.8.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt
from scipy.stats import spearmanr

import revoice
from revoice.audio.features import extract
from revoice.audio.io import Audio, read_audio, resample
from revoice.audio.presets import load_preset
from revoice.evaluation.recognition import RECOGNIZERS, mean_rate
from revoice.vocoders.base import VOCODERS

RATE = 16000
Damage = Callable[[Audio], Audio]


def noisy(decibels: float) -> Damage:
    def add(clip: Audio) -> Audio:
        noise = np.random.default_rng(len(clip.samples)).standard_normal(len(clip.samples))
        level = np.sqrt(np.mean(clip.samples.astype(float) ** 2)) * 10 ** (-decibels / 20)
        return Audio((clip.samples + level * noise).astype(np.float32), RATE)

    return add


def limited(hertz: float) -> Damage:
    sos = butter(6, hertz, fs=RATE, output="sos")
    return lambda clip: Audio(sosfiltfilt(sos, clip.samples).astype(np.float32), RATE)


def copied(iterations: int, blur: int = 0) -> Damage:
    spec = load_preset("mel_22k")
    vocoder = VOCODERS.build("griffin_lim", {"spec": spec, "iterations": iterations})

    def through(clip: Audio) -> Audio:
        features = extract(torch.from_numpy(resample(clip.samples, RATE, spec.sample_rate)), spec)[None]
        if blur:
            features = torch.nn.functional.avg_pool1d(features, 2 * blur + 1, 1, blur, count_include_pad=False)
        return Audio(vocoder(features)[0].numpy(), spec.sample_rate)

    return through


def damages(target: Audio) -> dict[str, Damage]:
    converter = revoice.load(vocoder={"name": "griffin_lim"})
    voice = converter.voice([target])
    found = {f"noise at {d} dB": noisy(d) for d in (30, 20, 15, 10, 5, 0)}
    found |= {f"up to {h} Hz": limited(h) for h in (4000, 2500, 1500, 1000, 700)}
    found |= {"Griffin-Lim": copied(32), "Griffin-Lim, no iterations": copied(0)}
    found |= {f"blurred over {2 * b + 1} frames": copied(32, b) for b in (2, 4, 7)}
    found["converted"] = lambda clip: converter.convert(clip, voice)
    found["converted, noise at 10 dB"] = lambda clip: converter.convert(noisy(10)(clip), voice)
    found["converted, up to 1500 Hz"] = lambda clip: converter.convert(limited(1500)(clip), voice)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("REVOICE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    parser.add_argument("--real", type=Path, default=shared / "data")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--judge", default="whisper")
    given = parser.parse_args()
    files = sorted((given.real / "librispeech_mini").rglob("test-other/*/*/*.flac"))
    if not files or RECOGNIZERS.get(given.judge).missing():
        print(f"skipped: no real speech in {given.real}, or {given.judge} is not installed")
        return
    clips = [read_audio(path, RATE) for path in files[:: max(1, len(files) // given.clips)][: given.clips]]
    clips = [Audio(clip.samples[: 8 * RATE], RATE) for clip in clips]
    target = read_audio(sorted((given.real / "vctk_mini/wav48/p225").glob("*.wav"))[0])
    judges = {name: RECOGNIZERS.build(name, {}, {"device": "cpu"}) for name in ("phones", given.judge)}
    clean = {name: judge.transcribe(clips) for name, judge in judges.items()}
    print(f"{'':32} {'phones':>8} {given.judge:>8}   errors against the clean clip, {len(clips)} clips")
    rows = []
    for title, damage in damages(target).items():
        broken = [damage(clip) for clip in clips]
        heard = {name: judge.transcribe(broken) for name, judge in judges.items()}
        row = [mean_rate(list(zip(clean[name], heard[name], strict=True))) for name in judges]
        rows.append(row)
        print(f"{title:32} {row[0]:8.3f} {row[1]:8.3f}", flush=True)
    found = spearmanr(*np.array(rows).T)
    print(f"rank correlation over {len(rows)} degradations: {found.statistic:.3f} (p = {found.pvalue:.1e})")


if __name__ == "__main__":
    main()
