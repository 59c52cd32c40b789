"""What is left of the words, the voice and the sound when what is converted was not recorded in a studio.

    python benchmarks/worse_recordings.py [default CKPT ...] [--f0 dio network] [--clips 12] [--real FOLDER]
        [--worse source target] [--conditions clean noise voices room telephone]

Real clips of voices that no training hears (VCTK p225 to p228, LibriSpeech test-other, 8 s at most) are converted into
one another: as they are, and with noise or three other voices behind, in a room, by telephone (pitch_search.py makes
them so). Either the source is made worse or the one clip that tells the target.

CER: character errors of what Whisper hears (tiny.en, as in words.py), against what it hears in the clean source; first
those of the worse source itself. cosine: to other clips of the target (Resemblyzer). DNSMOS: where speechmos is
installed. Standard errors behind +-.
"""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pitch_search import LONGEST, RATE, babble, pink, room, telephone
from words import Clips, Listen, by_voice, cer, judged, real

from revoice import load
from revoice.audio.io import Audio, read_audio, resample
from revoice.audio.speaker import speaker_encoder

Trial = tuple[Audio, str, Audio]  # a source, the target voice, a clip of it


def voices_of(folder: Path) -> dict[str, Clips]:
    """VCTK's and LibriSpeech's held-out voices."""
    files = [
        path for name in ("p225", "p226", "p227", "p228") for path in sorted(folder.glob(f"vctk_mini/wav48/{name}/*"))
    ]
    vctk = by_voice((path.parent.name, read_audio(path, RATE)) for path in files)
    return {"vctk": vctk, "librispeech": real(folder)}


def trials(voices: Clips, count: int) -> list[Trial]:
    """Every voice into others in turn, until there are enough."""
    names, found = list(voices), []
    for turn in range(count):
        name, other = names[turn % len(names)], names[(turn + 1 + turn // len(names)) % len(names)]
        if name != other:
            clip = voices[name][turn // len(names) % len(voices[name])]
            samples = resample(clip.samples, clip.sample_rate, RATE)[: LONGEST * RATE]
            target = voices[other][-1]
            found.append((Audio(samples, RATE), other, Audio(resample(target.samples, target.sample_rate, RATE), RATE)))
    return found


def naturalness(clip: Audio) -> float:
    """DNSMOS, overall; nan where it is not installed."""
    if not find_spec("speechmos"):
        return float("nan")
    from speechmos import dnsmos

    samples = resample(clip.samples, clip.sample_rate, RATE)
    return float(dnsmos.run(np.clip(0.5 * samples / max(1e-9, np.abs(samples).max()), -1, 1), sr=RATE)["ovrl_mos"])


def made_worse(clips: Sequence[Audio]) -> dict[str, list[Audio]]:
    """All clips under each condition."""
    waves = [clip.samples.astype(np.float64) for clip in clips]
    ways: dict[str, Any] = {
        "clean": lambda wave, rng: wave, "noise": pink, "voices": babble(waves), "room": room, "telephone": telephone
    }  # fmt: skip
    found = {}
    for name, way in ways.items():
        rng = np.random.default_rng(1)
        made = [way(wave, rng) for wave in waves]
        found[name] = [Audio((wave / max(1.0, np.abs(wave).max())).astype(np.float32), RATE) for wave in made]
    return found


def line(rows: Sequence[Sequence[float]]) -> str:
    """Means of CER, cosine and DNSMOS."""
    table = np.array(rows, dtype=float)
    error = table[:, 0].std(ddof=1) / len(rows) ** 0.5
    mean = table.mean(axis=0)
    return f"CER {mean[0]:.3f} +- {error:.3f}  cosine {mean[1]:6.3f}  DNSMOS {mean[2]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", default=["default"])
    parser.add_argument("--f0", nargs="*", default=["dio", "network"])
    parser.add_argument("--clips", type=int, default=12, help="conversions of each corpus")
    parser.add_argument("--worse", nargs="*", default=["source", "target"])
    parser.add_argument("--conditions", nargs="*", default=["clean", "noise", "voices", "room", "telephone"])
    given, listen = judged(parser)
    encoder = speaker_encoder("cpu")
    known: list[tuple[Trial, str, torch.Tensor]] = []
    for voices in voices_of(given.real).values():
        means = {name: encoder.mean_embedding(clips[:-1] or clips) for name, clips in voices.items()}
        known += [(trial, listen(trial[0]), means[trial[1]]) for trial in trials(voices, given.clips)]
    known = [each for each in known if each[1]]
    converters = {(path, f0): load(path, f0=f0) for path in given.checkpoints for f0 in given.f0}
    for side in given.worse:
        number = 0 if side == "source" else 2
        for condition, clips in made_worse([trial[number] for trial, _, _ in known]).items():
            if condition not in given.conditions:
                continue
            print(f"{side} {condition}")
            if side == "source":
                rows = [sounds(clip, said, None, listen) for clip, (_, said, _) in zip(clips, known, strict=True)]
                print(f"  {'the source itself':<40} {line(rows)}", flush=True)
            for (path, f0), converter in converters.items():
                rows = []
                for clip, ((source, _, target), said, mean) in zip(clips, known, strict=True):
                    made = converter.convert(*((clip, target) if side == "source" else (source, clip)))
                    rows.append(sounds(made, said, mean, listen))
                print(f"  {f'{path[-30:]}, f0={f0}':<40} {line(rows)}", flush=True)


def sounds(clip: Audio, said: str, mean: torch.Tensor | None, listen: Listen) -> list[float]:
    """CER, cosine and DNSMOS of a clip."""
    cosine = float("nan") if mean is None else float(speaker_encoder("cpu").embed([clip])[0] @ mean)
    return [cer(said, listen(clip)), cosine, naturalness(clip)]


if __name__ == "__main__":
    main()
