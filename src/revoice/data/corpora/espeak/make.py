"""Makes the embedded corpus: writes a folder in VCTK 0.92's layout, parallel over all voices."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from revoice.data.corpora.espeak.drawn import drawn_sentence, words
from revoice.data.corpora.espeak.voices import ACCENT_NAMES, STYLES, Voice, voices
from revoice.data.prepare.workers import usable_cpus
from revoice.errors import UserError, choices
from revoice.mistakes import LARGEST
from revoice.settings import Count, Natural, Whole, Word, one_or_more, settings

VERSION = 2  # raise when the way they are spoken changes
FIRST_DRAWN = 10_001  # number of the first drawn sentence
VAL_EVERY = 25  # one training sentence in this many is for validation


Several = Annotated[Whole, Field(ge=2, le=LARGEST)]
More = Annotated[Natural, Field(le=100_000)]


def _known(style: str) -> str:
    if style not in STYLES:
        raise choices(style, STYLES, "prosody style (data.corpus.styles)")
    return style


Styles = Annotated[
    tuple[Annotated[Word, AfterValidator(_known)], ...], Field(min_length=1), BeforeValidator(one_or_more)
]


@settings
class Recipe:
    """What to speak.

    Attributes:
        sentences: training sentences.  test_sentences: further ones, never trained on.
        per_voice: how many of the training sentences each training voice speaks, every voice others (None: all).
        tested_voices: training voices that speak the test sentences too (None: all); unseen voices always do.
        styles: prosody styles; more than "neutral" adds styled readings by `styled_voices` training voices and by the
            unseen ones.
        max_voices: use only so many training voices (None: all), for quick tests.
        more_voices: designed training voices beside the 582.
        drawn: sentences of drawn words, without sense, that each training voice speaks beside, everyone others.
    """

    sentences: Several = 100
    test_sentences: Several = 20
    per_voice: Count | None = 20
    tested_voices: Natural | None = 60
    styles: Styles = ("neutral",)
    styled_voices: Natural = 8
    max_voices: Count | None = None
    more_voices: More = 0
    drawn: More = 0

    def __post_init__(self) -> None:
        there = len(sentences())
        if self.sentences + self.test_sentences > there:
            raise UserError(
                f"data.corpus.sentences={self.sentences} + test_sentences={self.test_sentences}: "
                f"expected at most {there} in all"
            )

    @property
    def styled(self) -> bool:
        """Whether anything is spoken otherwise than neutrally."""
        return set(self.styles) != {"neutral"}

    def utterances(self) -> int:
        """How many clips that is."""
        return sum(
            len(_manners(number, voice, self)) * len(_readings(number, voice, self)) + len(_drawn(voice, self))
            for number, voice in enumerate(_cast(self))
        )

    def key(self) -> str:
        """Folder name: equal recipes, voices and sentences share a corpus."""
        return _key(self)


@cache
def _key(recipe: Recipe) -> str:
    values = asdict(recipe)
    for later in ("more_voices", "drawn"):
        if not values[later]:
            del values[later]  # the folder keeps the name that it had before there was such a setting
    known: list[Any] = [words()] if recipe.drawn else []
    if recipe.styled:
        known += ["styles are not cut", [asdict(STYLES[style]) for style in recipe.styles]]
    text = json.dumps([VERSION, values, [asdict(voice) for voice in _cast(recipe)], sentences(), *known])
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def sentences() -> list[str]:
    """The sentences written for revoice; the last 20 are the test sentences of the default recipe."""
    return (Path(__file__).parent / "sentences.txt").read_text(encoding="utf-8").splitlines()


def make_corpus(
    root: Path, recipe: Recipe, workers: int | None = None, progress: Callable[[int, float], None] | None = None
) -> None:
    """Speak the corpus into `root` unless it is there; `root` appears whole or not at all.

    Args:
        root: target folder.
        recipe: what to speak.
        workers: processes (None: one per core).
        progress: called with (clips, seconds of audio) after each voice.
    """
    if (root / "utterances.jsonl").is_file():
        return
    part = root.with_name(f"{root.name}.part")  # one maker at a time: the caller holds the folder's lock
    shutil.rmtree(part, ignore_errors=True)
    jobs = [_job(part, number, voice, recipe) for number, voice in enumerate(_cast(recipe))]
    rows = []
    with serve(workers or usable_cpus()) as server:
        assert server.stdin and server.stdout and server.stderr
        server.stdin.write("".join(json.dumps({k: v for k, v in j.items() if k != "rows"}) + "\n" for j in jobs))
        server.stdin.close()
        for job in jobs:
            line = server.stdout.readline()
            answer: dict[str, Any] = (
                json.loads(line) if line else {"error": (server.stderr.read().strip().splitlines() or ["it died"])[-1]}
            )
            if "error" in answer:
                raise UserError(f"espeak-ng could not speak the embedded corpus: {answer['error']}")
            rows += [{**row, **done} for row, done in zip(job["rows"], answer["items"], strict=True)]
            if progress:
                progress(len(job["rows"]), sum(done["seconds"] for done in answer["items"]))
    _write_tables(part, rows, recipe)
    part.rename(root)


def _cast(recipe: Recipe) -> list[Voice]:
    everyone = voices(recipe.more_voices)
    seen = [voice for voice in everyone if not voice.unseen]
    if recipe.max_voices is not None:  # evenly spaced, so that a small cast still has women and men
        step = max(1, len(seen) // recipe.max_voices)
        seen = seen[::step][: recipe.max_voices]
    return seen + [voice for voice in everyone if voice.unseen]


def _readings(number: int, voice: Voice, recipe: Recipe) -> list[int]:
    """Indices into `sentences()` of what the voice at this place of the cast reads."""
    there = len(sentences())
    test = list(range(there - recipe.test_sentences, there))
    count = min(recipe.per_voice or recipe.sentences, recipe.sentences)
    if voice.unseen:
        return list(range(count)) + test
    # a prime step spreads where the voices start; consecutive ones overlap, so that pairs share sentences
    own = sorted((number * 7 + k) % recipe.sentences for k in range(count))
    return own + (test if recipe.tested_voices is None or number < recipe.tested_voices else [])


def _drawn(voice: Voice, recipe: Recipe) -> list[str]:
    """Sentences that this voice alone says."""
    return [] if voice.unseen else [drawn_sentence(voice.speaker, number) for number in range(recipe.drawn)]


def _job(root: Path, number: int, voice: Voice, recipe: Recipe) -> dict[str, Any]:
    texts = sentences()
    audio, text_folder = root / "wav48_silence_trimmed" / voice.speaker, root / "txt" / voice.speaker
    audio.mkdir(parents=True, exist_ok=True)
    text_folder.mkdir(parents=True, exist_ok=True)
    items, rows = list[dict[str, Any]](), list[dict[str, Any]]()

    def add(place: int, text: str, style: str, split: str) -> None:
        name, manner = f"{voice.speaker}_{place:03d}", STYLES[style]
        (text_folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        items.append(
            {
                "wav": str(audio / f"{name}_mic1.flac"),
                "text": text,
                "rate": round(voice.rate * manner.rate),
                "stress": manner.stress,
                "pitch": _clip(voice.pitch + manner.pitch),
                "range": _clip(voice.range + manner.range),
                "volume": 100 + manner.volume,
            }  # fmt: skip
        )
        rows.append({"id": name, "emotion": style, "split": split})

    for turn, style in enumerate(_manners(number, voice, recipe)):
        for index in _readings(number, voice, recipe):
            # equal numbers are equal sentences
            add(turn * len(texts) + index + 1, texts[index], style, _split(index, voice, recipe))
    for count, text in enumerate(_drawn(voice, recipe)):
        add(FIRST_DRAWN + number * recipe.drawn + count, text, "neutral", "train")
    return {
        "voice": f"{voice.accent}+{voice.variant.replace('Mr_Serious', 'Mr serious')}",
        "definition": voice.definition,
        # espeak-ng presses down what is too loud, and cuts it: angry speech lost its peaks, by how much was the voice's
        # own. Where all is neutral it is as it always was
        "uncut": recipe.styled,
        "items": items,
        "rows": rows,
    }


def _manners(number: int, voice: Voice, recipe: Recipe) -> tuple[str, ...]:
    return recipe.styles if voice.unseen or number < recipe.styled_voices else ("neutral",)


def _split(index: int, voice: Voice, recipe: Recipe) -> str:
    if voice.unseen:
        return "test_unseen"
    if index >= recipe.sentences:
        return "test_seen"
    return "val" if index % min(VAL_EVERY, recipe.sentences) == min(VAL_EVERY, recipe.sentences) - 1 else "train"


def _clip(value: int) -> int:
    return max(0, min(99, value))


def serve(workers: int) -> "subprocess.Popen[str]":
    """The program that speaks: jobs on its standard input, a line of its standard output for each, see `server.py`."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise UserError("this needs espeak-ng: pip install 'revoice[synthetic]'")
    script = Path(__file__).with_name("server.py")
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, str(script), str(workers)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def _write_tables(root: Path, rows: Sequence[dict[str, Any]], recipe: Recipe) -> None:
    head = "ID  AGE  GENDER  ACCENTS  REGION COMMENTS"
    people = [f"{v.speaker}  30  {v.gender}    {ACCENT_NAMES[v.accent]}  espeak-ng {v.variant}" for v in _cast(recipe)]
    (root / "speaker-info.txt").write_text("\n".join([head, *people]) + "\n", encoding="utf-8")
    (root / "utterances.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
