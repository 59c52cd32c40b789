"""Emotions of a CodeGAN beside cheaper ways: the style that is heard, whose voice it is, what is still understood.

    python benchmarks/emotions.py CODEGAN_RUN_OR_CKPT               on the styles of the embedded corpus

Sentences that nobody was trained on, by voices of the styles. The style is told by a classifier of the pitch, energy
and spectrum of true recordings, brought to equal lengths; it knows nothing of codes. Systems:

    source      the recording as it is            transform   WORLD: mean and range of pitch moved as the styles differ
    copy        of the source, by codes alone     scaling     codes times factors, those that sound most like the style
    true        a recording in that style         codegan     codes rewritten
    ideal       that, by codes alone              told        codes rewritten, told in which style the source is

`transform` knows the style of its source, too. `ideal` is what rewriting could reach at most with such codes, such a
decoder and such a vocoder, had it the durations as well.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from revoice.audio.io import Audio, read_audio
from revoice.audio.presets import config_dir
from revoice.audio.speaker import speaker_encoder
from revoice.conversion.adaptation import Voice
from revoice.conversion.converter import Converter
from revoice.conversion.load import load
from revoice.data.config import build
from revoice.data.corpora.manifest import Manifest, Row
from revoice.evaluation.recognition import RECOGNIZERS, Recognizer, mean_rate
from revoice.evaluation.styles import StyleListener, cents_apart, contour, prosody
from revoice.models.codegan import CodeGAN

SYSTEMS = ("source", "copy", "true", "ideal", "transform", "scaling", "codegan", "told")
FACTORS = (0.1, 0.5, 0.75, 1.25, 1.5, 2.0, 3.0)  # of codes that are tried
SCALED = {"pitch": "pitch_code", "rhythm": "rhythm_code", "energy": "energy_code"}  # by the names of their controls
System = Callable[[Row, str], Audio]


class Bench:
    """The corpus, the classifier, and everything that is computed once.

    Args:
        manifest: with styles.
        voices: how many of the voices that speak all styles.  sentences: test sentences of each.
    """

    def __init__(self, manifest: Manifest, voices: int, sentences: int) -> None:
        self.manifest = manifest
        self._clips: dict[str, Audio] = {}
        self.styles = sorted({row.emotion or "" for row in manifest} - {""})
        speaks: dict[str, set[str | None]] = {}
        for row in manifest:
            speaks.setdefault(row.speaker, set()).add(row.emotion)
        every = len(self.styles)
        seen = {row.speaker for row in manifest if row.split == "train"}
        styled = [name for name in sorted(seen) if len(speaks[name] & set(self.styles)) == every]
        self.voices = styled[:voices]
        rows = [row for row in manifest if row.speaker in self.voices]
        self.train = [row for row in rows if row.split in ("train", "val")]
        self.by = {(row.speaker, row.sentence, row.emotion): row for row in rows}
        tested = {
            name: sorted({r.sentence or "" for r in rows if r.speaker == name and r.split == "test_seen"})
            for name in self.voices
        }
        whole = {
            name: [each for each in said if all((name, each, style) in self.by for style in self.styles)]
            for name, said in tested.items()
        }
        self.tests = [(name, sentence) for name in self.voices for sentence in whole[name][:sentences]]
        if "neutral" not in self.styles or not self.tests:
            raise SystemExit(
                f"error: corpus '{manifest.corpus}': expected a neutral style, and test sentences that a voice of the "
                "training data says in every style: data=synthetic_emotions has both"
            )
        self.numbers = {row.id: prosody(self.clip(row)) for row in self.train}
        self.listener = StyleListener(
            np.stack([*self.numbers.values()]),
            [row.emotion or "" for row in self.train],
            [r.speaker for r in self.train],
        )

    def clip(self, row: Row) -> Audio:
        """Its recording."""
        if row.id not in self._clips:
            self._clips[row.id] = read_audio(self.manifest.file(row))
        return self._clips[row.id]

    def pairs(self) -> list[tuple[Row, Row, str]]:
        """Source, true recording and its style: the neutral one into all others, those in turn into it."""
        others = [style for style in self.styles if style != "neutral"]
        found = []
        for number, (name, sentence) in enumerate(self.tests):
            for style in self.styles:
                own = others[number % len(others)] if style == "neutral" else "neutral"
                found.append((self.by[name, sentence, own], self.by[name, sentence, style], style))
        return found

    def row(self, system: System, recognizer: Recognizer) -> dict[str, float]:
        """The measures of a system."""
        pairs = self.pairs()
        said = [system(source, style) if system is not TRUE else self.clip(true) for source, true, style in pairs]
        numbers, speakers = np.stack([prosody(clip) for clip in said]), [source.speaker for source, _, _ in pairs]
        told = self.listener.tell(numbers, speakers)
        truth = np.stack([prosody(self.clip(true)) for _, true, _ in pairs])
        embed = speaker_encoder().embed
        sources, made = embed([self.clip(source) for source, _, _ in pairs]), embed(said)
        words = [recognizer.said(true) for _, true, _ in pairs]
        heard = recognizer.transcribe(said)
        cents = [
            cents_apart(contour(clip), contour(self.clip(true))) for clip, (_, true, _) in zip(said, pairs, strict=True)
        ]
        right = np.array([found == style for found, (_, _, style) in zip(told, pairs, strict=True)])
        wanted = np.array([style for _, _, style in pairs])
        return {
            "style": float(right.mean()),
            **{f"style/{style}": float(right[wanted == style].mean()) for style in self.styles},
            "cosine": float((sources * made).sum(1).mean()),
            "phone_error": mean_rate([(a, b) for a, b in zip(words, heard, strict=True) if a]),
            "apart": float(self.listener.apart(numbers, truth).mean()),
            "cents": float(np.nanmean(cents)),
        }


def bench_of(overrides: Sequence[str], voices: int, sentences: int) -> Bench:
    """Of the embedded styles, or what overrides of data choose."""
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        composed = compose("prepare", ["data=synthetic_emotions", *overrides])
    config: Any = OmegaConf.to_container(composed, resolve=True)
    return Bench(build(config["data"]).manifest(), voices, sentences)


def TRUE(row: Row, style: str) -> Audio:
    """Stands for the true recordings, and is never called."""
    raise AssertionError


def transform(bench: Bench) -> System:
    """Pitch moved and spread by WORLD as the styles differ from each other in the training clips, on the average."""
    import pyworld

    means = {
        style: np.mean(
            [bench.numbers[r.id][:2] - bench.listener.means[r.speaker][:2] for r in bench.train if r.emotion == style],
            axis=0,
        )
        for style in bench.styles
    }  # median and deviation of log-f0, relative to the speaker's
    spread = np.mean([mean[1] for mean in bench.listener.means.values()])

    def speak(row: Row, style: str) -> Audio:
        clip = bench.clip(row)
        x = clip.samples.astype(np.float64)
        f0, times = pyworld.dio(x, clip.sample_rate)
        f0 = pyworld.stonemask(x, f0, times, clip.sample_rate)
        voiced, own = f0 > 0, means[row.emotion or "neutral"]
        log = np.log(f0[voiced])
        factor = (spread + means[style][1]) / (spread + own[1])
        f0[voiced] = np.exp(np.median(log) + means[style][0] - own[0] + factor * (log - np.median(log)))
        envelope = pyworld.cheaptrick(x, f0, times, clip.sample_rate)
        made = pyworld.synthesize(f0, envelope, pyworld.d4c(x, f0, times, clip.sample_rate), clip.sample_rate)
        return Audio(made.astype(np.float32), clip.sample_rate)

    return speak


def by_codes(bench: Bench, converter: Converter, controls: dict[str, dict[str, Any]]) -> System:
    """The model with controls for each style."""
    own = Voice([], converter.model, None)
    return lambda row, style: converter.convert(bench.clip(row), own, **controls[style])


def ideal(bench: Bench, converter: Converter) -> System:
    """The true recording through the codes."""
    own = Voice([], converter.model, None)
    return lambda row, style: converter.convert(bench.clip(bench.by[row.speaker, row.sentence, style]), own)


def rewritten(bench: Bench, converter: Converter, strength: float, told: bool) -> System:
    """The model's emotions; `told`: it knows the source's."""
    own = Voice([], converter.model, None)

    def speak(row: Row, style: str) -> Audio:
        known = {"source_emotion": row.emotion} if told else {}
        return converter.convert(bench.clip(row), own, emotion=style, strength=strength, **known)

    return speak


def factors(bench: Bench, converter: Converter, clips: int) -> dict[str, dict[str, Any]]:
    """For each style the factor on one kind of codes that makes neutral training clips most certain to be of it."""
    assert isinstance(converter.model, CodeGAN)
    own = Voice([], converter.model, None)
    found: dict[str, dict[str, Any]] = {}
    tried = [{}, *({SCALED[n]: f} for n in converter.model.rewritten if n in SCALED for f in FACTORS)]
    scores: dict[int, dict[str, float]] = {}
    neutral = [row for row in bench.train if row.emotion == "neutral"]
    chosen = neutral[:: max(1, len(neutral) // clips)][:clips]
    for number, settings in enumerate(tried):
        numbers = np.stack([prosody(converter.convert(bench.clip(row), own, **settings)) for row in chosen])
        speakers = [row.speaker for row in chosen]
        scores[number] = {s: float(bench.listener.certainty(numbers, speakers, s).mean()) for s in bench.styles}
    for style in bench.styles:
        found[style] = tried[max(scores, key=lambda number: scores[number][style])]
    print(f"factors on codes: {found}")
    return found


def main() -> None:
    """Print a table and, with --out, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("overrides", nargs="*", help="of data, e.g. data=esd data.root=FOLDER")
    parser.add_argument("--voices", type=int, default=8)
    parser.add_argument("--sentences", type=int, default=5)
    parser.add_argument("--tries", type=int, default=12, help="clips by which factors on codes are chosen")
    parser.add_argument("--strength", type=float, default=1.0, help="of codes that are rewritten")
    parser.add_argument("--systems", nargs="+", default=[*SYSTEMS], choices=SYSTEMS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    bench = bench_of(given.overrides, given.voices, given.sentences)
    converter = load(given.checkpoint, vocoder={"name": "griffin_lim"})
    recognizer = RECOGNIZERS.build("phones", {})
    print(f"{len(bench.voices)} voices, {len(bench.tests)} sentences, {len(bench.pairs())} pairs")
    plain: dict[str, dict[str, Any]] = {style: {} for style in bench.styles}
    made: dict[str, Callable[[], System]] = {
        "source": lambda: lambda row, style: bench.clip(row),
        "copy": lambda: by_codes(bench, converter, plain),
        "true": lambda: TRUE,
        "transform": lambda: transform(bench),
        "scaling": lambda: by_codes(bench, converter, factors(bench, converter, given.tries)),
        "ideal": lambda: ideal(bench, converter),
        "codegan": lambda: rewritten(bench, converter, given.strength, told=False),
        "told": lambda: rewritten(bench, converter, given.strength, told=True),
    }
    rows: dict[str, dict[str, float]] = {}
    for name in given.systems:  # each line when it is known
        rows[name] = bench.row(made[name](), recognizer)
        if len(rows) == 1:
            print(" ".join([f"{'':<10}", *(f"{key:>14}" for key in rows[name])]))
        print(" ".join([f"{name:<10}", *(f"{value:14.3f}" for value in rows[name].values())]), flush=True)
    if given.out:
        given.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
