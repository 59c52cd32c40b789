"""How well vocoders say recordings of unseen voices again, from the same features: Griffin-Lim's beside trained ones.

    python benchmarks/vocoders.py [default_vocoder] [RUN ...] [--seconds 60] [--real FOLDER] [--untold]

"default_vocoder" is the one that ships. The pitch is told as in a conversion, to those that ask; not with --untold.

For each vocoder: the multi-resolution STFT distance (arXiv:1910.11480), the mean absolute difference of the log-mels,
the cosine of Resemblyzer's embeddings of the copy and the recording, PESQ (wide band, where `pip install pesq` was), a
CPU thread's speed, and the ratio of Griffin-Lim's STFT distance to its own. Unseen voices of the embedded corpus, those
that no training hears, and, where `shared/data` lies beside the repository or in $REVOICE_SHARED, speakers of
LibriSpeech's test-other.
"""

import argparse
import os
import time
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from words import LENGTH, embedded, real

from revoice.audio.features import FeatureExtractor, extract
from revoice.audio.io import Audio, resample
from revoice.audio.pitch import pitch_for
from revoice.audio.presets import load_preset
from revoice.audio.speaker import speaker_encoder
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.vocoder import load_vocoder
from revoice.errors import UserError
from revoice.nn.spectral import mel_l1, stft_distance
from revoice.vocoders.base import Vocoder


def recordings(voices: dict[str, Sequence[Audio]], seconds: float, rate: int) -> list[np.ndarray]:
    """Samples of clips of all voices in turn, until there are so many seconds."""
    turns = zip(*([clip for clip in clips if clip.seconds < LENGTH[1]] for clips in voices.values()), strict=False)
    found: list[np.ndarray] = []
    for clip in chain.from_iterable(turns):
        if sum(map(len, found)) > seconds * rate:
            break
        found.append(resample(clip.samples, clip.sample_rate, rate))
    return found


def pesq(made: np.ndarray, recording: np.ndarray, rate: int) -> float:
    """Wide-band PESQ; NaN without the package, or where it hears no speech."""
    if find_spec("pesq") is None:
        return float("nan")
    from pesq import NoUtterancesError
    from pesq import pesq as score

    try:
        return float(score(16000, resample(recording, rate, 16000), resample(made, rate, 16000), "wb"))
    except NoUtterancesError:
        return float("nan")


def measure(vocoder: Vocoder, clips: Sequence[np.ndarray], told: bool = True) -> dict[str, float]:
    """The line of a table."""
    spec, rows, spent = vocoder.spec, [], 0.0
    extractor, encoder = FeatureExtractor(spec), speaker_encoder("cpu")
    with torch.inference_mode():
        vocoder(extract(clips[0], spec)[None])  # the first call builds what it needs
        for clip in clips:
            features = extract(clip, spec)[None]
            f0 = torch.from_numpy(pitch_for(clip, spec).f0)[None, : features.shape[2]] if told else None
            began = time.perf_counter()
            made = vocoder(features, f0=f0)
            spent += time.perf_counter() - began
            wave = torch.from_numpy(clip)[None, : made.shape[1]]
            made = made[:, : wave.shape[1]]
            distance, mel = float(stft_distance(made, wave)), float(mel_l1(made, wave, extractor))
            both = [Audio(each[0].numpy(), spec.sample_rate) for each in (wave, made)]
            one, other = encoder.embed(both)
            rows.append((distance, mel, float(one @ other), pesq(both[1].samples, both[0].samples, spec.sample_rate)))
    means = dict(zip(("stft", "mel", "cosine", "pesq"), np.nanmean(np.array(rows), axis=0), strict=True))
    return {**means, "speed": sum(map(len, clips)) / spec.sample_rate / spent}


def vocoders(paths: Sequence[str]) -> list[tuple[str, Vocoder]]:
    """Griffin-Lim for the features of the first checkpoint, and those of all checkpoints."""
    specs = [load_checkpoint(path).spec for path in paths] or [load_preset("mel_22k")]  # those that ship share theirs
    first: FeatureSpec = specs[0]
    found = [("griffin_lim", load_vocoder({"name": "griffin_lim"}, first))]
    return found + [(path, load_vocoder({"ckpt": path}, spec)) for path, spec in zip(paths, specs, strict=True)]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each corpus")
    shared = Path(os.environ.get("REVOICE_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--real", type=Path, default=shared / "data")
    parser.add_argument("--untold", action="store_true", help="the pitch is not told")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        systems = vocoders(options.checkpoints)
    except UserError as error:
        print(error)
        return
    spoken, told = {"embedded": embedded(), "real": real(options.real)}, not options.untold
    print(f"{'':<40}{'':<10}{'STFT':>7}{'ratio':>7}{'mel L1':>8}{'cosine':>8}{'PESQ':>6}{'x real time':>13}")
    for corpus, voices in spoken.items():
        lines = [(name, measure(each, recordings(dict(voices), options.seconds, each.spec.sample_rate), told))
                 for name, each in systems if voices]  # fmt: skip
        for name, m in lines:
            print(
                f"{name[-38:]:<40}{corpus:<10}{m['stft']:>7.3f}{lines[0][1]['stft'] / m['stft']:>7.2f}{m['mel']:>8.3f}"
                f"{m['cosine']:>8.3f}{m['pesq']:>6.2f}{m['speed']:>13.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
