"""Who takes part in a privacy evaluation: enrolled voices, the recordings asked about, and strangers to learn from."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from revoice.audio.io import Audio, AudioError, resample
from revoice.audio.trim import read_speech
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.pairs import said

log = logging.getLogger(__name__)
RATE = 16000  # Hz: what is anonymized, judged and heard, as in the challenge
PIECE = 4.0  # seconds of a piece that a stranger's long recording is cut into, so that there are several of everybody
SHORTEST = 1.0  # seconds


@dataclass(frozen=True)
class Utterance:
    """A recording, or a piece of one.

    Attributes:
        key: tells it apart from all others.
        row: of the manifest.
        clip: at `RATE`.
    """

    key: str
    row: Row
    clip: Audio


@dataclass(frozen=True)
class Cast:
    """The roles of one evaluation.

    Attributes:
        enrolled: recordings by which an attacker knows each voice.
        asked: those of which the attacker has to say whose they are, of the same voices.
        strangers: recordings of other voices, which the informed attacker learns from.
        unusable: why a recording was passed over, by path.
    """

    enrolled: list[Utterance]
    asked: list[Utterance]
    strangers: list[Utterance]
    unusable: dict[str, str] = field(default_factory=dict)

    @property
    def speakers(self) -> list[str]:
        """The enrolled voices, sorted."""
        return sorted({u.row.speaker for u in self.enrolled})


def choose_cast(
    manifest: Manifest, splits: Sequence[str], speakers: int, enrolled: int, asked: int, strangers: int, each: int
) -> Cast:
    """Pick voices and their recordings, the same on every machine.

    Args:
        manifest: of a corpus, with splits.
        splits: that enrolled voices come from; strangers come from any.
        speakers: enrolled voices, half of each gender if there are enough; fewer if the corpus has fewer.
        enrolled: recordings that each is known by.  asked: at most, of each, others than those. No two of a voice are
            of the same sentence in the same emotion: they may be one take by two microphones.
        strangers: voices beside these.  each: recordings, or pieces of them, of each; two at least.

    Raises:
        UserError: fewer than three voices have a recording more than is enrolled.
    """
    unusable: dict[str, str] = {}

    def read(row: Row) -> Audio | None:
        try:
            return _read(manifest.file(row))
        except AudioError as error:
            unusable[row.path] = str(error)
            log.warning("passed over: %s", error)
            return None

    known: list[Utterance] = []
    questions: list[Utterance] = []
    chosen: set[str] = set()
    candidates = [voice for voice in _by_speaker(manifest.select(*splits)) if len(voice) > enrolled]
    for voice in _in_turns(candidates):
        if len(chosen) == speakers:
            break
        clips = _usable(voice, enrolled + asked, read, again=False)
        if len(clips) > enrolled:
            chosen.add(voice[0].speaker)
            known += clips[:enrolled]
            questions += clips[enrolled:]
    if len(chosen) < 3:
        raise UserError(
            f"{manifest.corpus}: {len(chosen)} voices of {'+'.join(splits)} have more than {enrolled} usable "
            "recordings, expected three at least: give more evaluation.splits or a smaller evaluation.enrolled"
        )
    learned: dict[str, list[Utterance]] = {}
    for voice in _in_turns(_by_speaker(manifest)):
        if len(learned) == strangers:
            break
        if voice[0].speaker not in chosen and len(clips := _pieces(voice, each, read)) > 1:
            learned[voice[0].speaker] = clips
    return Cast(known, questions, [piece for own in learned.values() for piece in own], unusable)


def _by_speaker(rows: Iterable[Row]) -> list[list[Row]]:
    """The recordings of each voice, voices and recordings in an order that nothing else decides."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.speaker, []).append(row)
    voices = [sorted(own, key=lambda row: _order(row.id)) for own in found.values()]
    return sorted(voices, key=lambda own: _order(own[0].speaker))


def _in_turns(voices: Sequence[list[Row]]) -> list[list[Row]]:
    """A woman, a man, a woman, ... as long as there are both; the rest behind."""
    women, men, rest = (
        [voice for voice in voices if (voice[0].gender if voice[0].gender in ("F", "M") else None) == gender]
        for gender in ("F", "M", None)
    )
    turns = [voice for pair in zip(women, men, strict=False) for voice in pair]
    both = min(len(women), len(men))
    return [*turns, *women[both:], *men[both:], *rest]


def _order(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def _usable(rows: Sequence[Row], most: int, read: Callable[[Row], Audio | None], again: bool = True) -> list[Utterance]:
    """The first recordings that can be read; unless `again`, one of each sentence in each emotion."""
    found: list[Utterance] = []
    takes = set[tuple[str, str | None]]()
    for row in rows:
        if len(found) == most:
            break
        take = (said(row), row.emotion)
        if take in takes and not again:
            continue
        clip = read(row)
        if clip is not None:
            found.append(Utterance(row.id, row, clip))
            takes.add(take)
    return found


def _pieces(rows: Sequence[Row], most: int, read: Callable[[Row], Audio | None]) -> list[Utterance]:
    """Recordings of a stranger; if they are too few, what they are cut into."""
    whole = _usable(rows, most, read)
    if len(whole) >= most:
        return whole
    cut = []
    for one in whole:
        count = max(1, int(one.clip.seconds // PIECE))
        parts = np.array_split(one.clip.samples, count)
        cut += [Utterance(f"{one.key}/{i}", one.row, Audio(part, RATE)) for i, part in enumerate(parts)]
    return cut[:most]


def _read(path: Path) -> Audio:
    audio, _ = read_speech(path)
    if audio.seconds < SHORTEST:
        raise AudioError(f"{path}: lasts {audio.seconds:.2f} s, expected {SHORTEST:g} s at least")
    return Audio(resample(audio.samples, audio.sample_rate, RATE), RATE)
