"""CSTR VCTK, releases 0.80 and 0.92, and anything laid out like them."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from revoice.data.corpora.base import CORPORA, Corpus, gender_of, read_text, sentence_id, visible
from revoice.data.corpora.manifest import Row
from revoice.settings import Place

log = logging.getLogger(__name__)

# Where releases and their resampled copies keep the audio; an utterance found in several is taken from the first.
AUDIO_FOLDERS = ("wav48_silence_trimmed", "wav48", "flac48", "wav24", "wav22", "wav16")
SUFFIXES = (".flac", ".wav")
RAINBOW = 24  # utterances 001-024 are the same sentences for every speaker; later numbers are not


@dataclass(frozen=True)
class Speaker:
    """A line of speaker-info.txt."""

    gender: str | None = None
    accent: str | None = None


@dataclass(frozen=True)
class Recording:
    """An audio file: `number` is the utterance number as written, `mic` is "" in release 0.80."""

    path: Path
    speaker: str
    number: str
    mic: str

    @property
    def id(self) -> str:
        """The utterance, whatever the microphone."""
        return f"{self.speaker}_{self.number}"


@CORPORA.register("vctk")
class VCTK(Corpus):
    """Reads `AUDIO_FOLDER/SPEAKER/SPEAKER_NUMBER[_micN].flac`, `txt/SPEAKER/SPEAKER_NUMBER.txt`, `speaker-info.txt`.

    Sentence ids come from the words, since beyond 024 the same number is another sentence for another speaker. Without
    text (p315) a number up to 024 takes the sentence that the other speakers read under it, and a later one, where both
    microphones are read, is a sentence of its own, which they share.

    Args:
        root: the corpus folder, or the folder that holds `VCTK-Corpus-0.92` or `VCTK-Corpus`.
        mic: "mic1", "mic2" (release 0.92; where a speaker lacks it, as p280 does, the other is taken), or "both".
    """

    title = "VCTK"
    accent = "en-us"
    where_to_get = "get 'CSTR VCTK Corpus 0.92' from Edinburgh DataShare (datashare.ed.ac.uk)"
    layout = (
        "wav48_silence_trimmed/p225/p225_001_mic1.flac (release 0.92) or wav48/p225/p225_001.wav (0.80), "
        "txt/p225/p225_001.txt and speaker-info.txt"
    )

    def __init__(self, root: Place | None, mic: Literal["mic1", "mic2", "both"] = "mic1") -> None:
        super().__init__(root)
        self.mic = mic

    @cached_property
    def folder(self) -> Path:
        """The root, or the release's folder inside it."""
        inside = (self.root, self.root / "VCTK-Corpus-0.92", self.root / "VCTK-Corpus")
        return next((path for path in inside if any((path / name).is_dir() for name in AUDIO_FOLDERS)), self.root)

    def rows(self) -> Iterable[Row]:
        """One row per utterance (per microphone with mic="both")."""
        speakers = self.speakers()
        rows = [self.row(recording, speakers.get(recording.speaker, Speaker())) for recording in self.chosen()]
        named = _name_rainbow(rows)
        return (replace(row, sentence=row.sentence or _take(row)) for row in named) if self.mic == "both" else named

    def row(self, recording: Recording, speaker: Speaker) -> Row:
        """The row of one recording; subclasses add columns here or in `rows`."""
        text = read_text(self.folder / "txt" / recording.speaker / f"{recording.id}.txt")
        return Row(
            id=f"{recording.id}_{recording.mic}" if self.mic == "both" and recording.mic else recording.id,
            path=recording.path.relative_to(self.folder).as_posix(),
            speaker=recording.speaker,
            sentence=sentence_id(text),
            text=text,
            gender=speaker.gender,
            accent=speaker.accent,
        )

    def chosen(self) -> Iterator[Recording]:
        """Every utterance once: from the best audio folder that has it, by the microphone wanted."""
        found: dict[tuple[str, str], list[Recording]] = {}
        for name in AUDIO_FOLDERS:
            here: dict[tuple[str, str], list[Recording]] = defaultdict(list)
            for recording in _recordings(self.folder / name):
                here[recording.speaker, recording.number].append(recording)
            found = {**here, **found}
        lacking: Counter[str] = Counter()
        for recordings in found.values():
            wanted = [r for r in recordings if self.mic == "both" or r.mic in ("", self.mic)]
            if not wanted:
                lacking[recordings[0].speaker] += 1
            yield from wanted or recordings[:1]
        for speaker, count in sorted(lacking.items()):
            log.info(
                "%s: speaker %s has no %s in %d utterances: the other one is used", self.title, speaker, self.mic, count
            )

    def speakers(self) -> dict[str, Speaker]:
        """speaker-info.txt by speaker name; the ids of release 0.80 lack the leading p."""
        lines = (read_text(self.folder / "speaker-info.txt") or "").splitlines()
        table = {}
        for columns in (line.split() for line in lines):
            if len(columns) >= 3 and columns[0] != "ID":
                name = f"p{columns[0]}" if columns[0].isdigit() else columns[0]
                table[name] = Speaker(gender_of(columns[2]), columns[3] if len(columns) > 3 else None)
        return table


def _recordings(folder: Path) -> Iterator[Recording]:
    for speaker in visible(folder):
        for path in visible(speaker, SUFFIXES):
            prefix, _, rest = path.stem.partition(f"{speaker.name}_")
            number, _, mic = rest.partition("_")
            if not prefix and number and mic in ("", "mic1", "mic2"):
                yield Recording(path, speaker.name, number, mic)


def _name_rainbow(rows: list[Row]) -> Iterator[Row]:
    """Give text-less rows numbered up to 024 the sentence that most other speakers read under that number."""
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.sentence and _number(row) <= RAINBOW:
            votes[_number(row)][row.sentence] += 1
    for row in rows:
        number = _number(row)
        if row.sentence is None and number <= RAINBOW:
            known = min(votes[number].items(), key=lambda item: (-item[1], item[0]))[0] if votes[number] else None
            row = replace(row, sentence=known or f"rainbow-{number:03d}")
        yield row


def _take(row: Row) -> str:
    """`Recording.id`, which both microphones have in common."""
    return f"{row.speaker}_{row.id.removeprefix(f'{row.speaker}_').partition('_')[0]}"


def _number(row: Row) -> int:
    number = _take(row).removeprefix(f"{row.speaker}_")
    return int(number) if number.isdigit() else RAINBOW + 1
