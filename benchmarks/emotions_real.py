"""What a CodeGAN that learned on the embedded styles does to real speech: words, voice, and how pitch and energy move.

    python benchmarks/emotions_real.py CODEGAN_RUN_OR_CKPT [--clips 12] [--real FOLDER]

Real clips of voices that no training hears (VCTK p225 to p228, LibriSpeech test-other, 8 s at most), in their own
voice, read in no particular emotion. Nobody labeled real speech for this, so no style is judged. Rows: the source, its
copy by the codes alone, and every emotion, told that the source is neutral.

CER: character errors of what Whisper hears (tiny.en, as in words.py), against what it hears in the source. cosine: to
another clip of the speaker (Resemblyzer). Standard errors behind +-. DNSMOS: where speechmos is installed. level:
semitones that the median pitch is above that of the conversions to neutral, those themselves above the copy's; spread
and energy: deviations of log-f0 and of the level in dB over time, as multiples of theirs. "embedded" beside them is
what the styles of the embedded corpus are on the average, beside its neutral one. Clips without pitch do not count.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from emotions import bench_of
from words import cer, judged
from worse_recordings import naturalness, trials, voices_of

from revoice import load
from revoice.audio.io import Audio
from revoice.audio.speaker import speaker_encoder
from revoice.conversion.adaptation import Voice
from revoice.evaluation.styles import Numbers, prosody
from revoice.models.codegan import CodeGAN

LEVEL, SPREAD, ENERGY = 0, 1, 6  # places in `prosody`


def styles_of_the_corpus(voices: int) -> dict[str, Numbers]:
    """Of each style the level, spread and energy beside the neutral one: means over training clips of some voices."""
    bench = bench_of([], voices, 1)
    means = {s: np.mean([bench.numbers[r.id] for r in bench.train if r.emotion == s], axis=0) for s in bench.styles}
    return {style: beside(mean, means["neutral"]) for style, mean in means.items()}


def beside(numbers: Numbers, plain: Numbers) -> Numbers:
    """Semitones above, and the factors of both deviations."""
    return np.array(
        [12 / np.log(2) * (numbers[LEVEL] - plain[LEVEL]), *(numbers[[SPREAD, ENERGY]] / plain[[SPREAD, ENERGY]])]
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--clips", type=int, default=12, help="of each corpus")
    parser.add_argument("--voices", type=int, default=8, help="of the embedded corpus, for the column beside")
    given, listen = judged(parser)
    converter, encoder = load(given.checkpoint), speaker_encoder("cpu")
    assert isinstance(converter.model, CodeGAN), "a CodeGAN is measured here"
    own = Voice([], converter.model, None)
    known: list[tuple[Audio, str, torch.Tensor]] = []
    for voices in voices_of(given.real).values():
        # the last clip of a voice tells whose it is, and is not converted
        several = {name: clips for name, clips in voices.items() if len(clips) > 1}
        means = [encoder.mean_embedding(clips[-1:]) for clips in several.values()]
        sources = trials({name: clips[:-1] for name, clips in several.items()}, given.clips)
        known += [(clip, listen(clip), means[turn % len(means)]) for turn, (clip, _, _) in enumerate(sources)]
    known = [each for each in known if each[1]]
    truth = styles_of_the_corpus(given.voices)
    print(f"{len(known)} clips                CER    +-   cosine    +-  DNSMOS   level spread energy (embedded)")
    plain: list[Numbers] = []
    for name in ("source", "copy", "neutral", *sorted(set(truth) - {"neutral"})):
        controls = {} if name in ("source", "copy") else {"emotion": name, "source_emotion": "neutral"}
        made = [clip if name == "source" else converter.convert(clip, own, **controls) for clip, _, _ in known]
        errors = [cer(said, listen(clip)) for clip, (_, said, _) in zip(made, known, strict=True)]
        alike = [float(v @ mean) for v, (_, _, mean) in zip(encoder.embed(made), known, strict=True)]
        numbers = [prosody(clip) for clip in made]
        plain = plain or numbers
        moved = [beside(a, b) for a, b in zip(numbers, plain, strict=True) if a[LEVEL] and b[LEVEL]]
        plain = numbers if name in ("source", "copy", "neutral") else plain
        aside = "".join(f"{value:7.2f}" for value in truth[name]) if name in truth else ""
        print(
            f"{name:<24}{mean_and_error(errors)}{mean_and_error(alike)}{np.mean([naturalness(c) for c in made]):8.2f}"
            + "".join(f"{value:7.2f}" for value in np.mean(moved, axis=0))
            + f"  {aside}",
            flush=True,
        )


def mean_and_error(values: Sequence[float]) -> str:
    """The mean and its standard error."""
    return f"{np.mean(values):8.3f}{np.std(values, ddof=1) / len(values) ** 0.5:6.3f}"


if __name__ == "__main__":
    main()
