"""ESD, the Emotional Speech Dataset (Zhou et al., arXiv:2105.14762): ten speakers of English, ten of Mandarin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from revoice.data.corpora.base import CORPORA, sentence_id, visible
from revoice.data.corpora.labeled.emotional import Emotional, Emotions
from revoice.data.corpora.manifest import Row
from revoice.settings import Flag, Place

PER_EMOTION = 350  # sentences, the same in every emotion of every speaker of a language
SPLITS = {"train": "train", "evaluation": "val", "test": "test_seen"}
ENGLISH = range(11, 21)
WOMEN = (1, 2, 3, 7, 9, 15, 16, 17, 18, 19)
_ENCODINGS = ("utf-8-sig", "utf-16", "gb18030")  # those of its transcripts; each speaker's has one


@CORPORA.register("esd")
class ESD(Emotional):
    """Reads `SPEAKER/EMOTION[/train|evaluation|test]/SPEAKER_NUMBER.wav` and the words of `SPEAKER/SPEAKER.txt`.

    Equal places among the 350 sentences of an emotion are equal words, so a sentence is parallel over the emotions and
    over all speakers of its language.

    Args:
        root: the corpus folder.
        emotions: which to read of neutral, happy, sad, angry, surprised; None: all.
        language: "english" (speakers 0011 to 0020), "mandarin" (0001 to 0010) or "both".
        own_splits: keep the corpus's own division, where the folders are there; else it is drawn.
    """

    title = "ESD"
    where_to_get = "get the 'Emotional Speech Dataset' from github.com/HLTSingapore/Emotional-Speech-Data"
    layout = "0011/Angry/train/0011_000371.wav (or 0011/Angry/0011_000371.wav) and 0011/0011.txt"
    words = {"Neutral": "neutral", "Happy": "happy", "Sad": "sad", "Angry": "angry", "Surprise": "surprised"}

    def __init__(
        self,
        root: Place | None,
        emotions: Emotions | None = None,
        language: Literal["english", "mandarin", "both"] = "english",
        own_splits: Flag = False,
    ) -> None:
        super().__init__(root, emotions)
        self.language, self.own_splits = language, own_splits

    @property
    def folder(self) -> Path:
        """The root, or the folder inside it that the archive makes."""
        inside = self.root / "Emotion Speech Dataset"
        return inside if inside.is_dir() else self.root

    def everything(self) -> Iterator[Row]:
        """One row per recording of the speakers of the language."""
        for speaker in visible(self.folder):
            if speaker.name.isdigit() and self._speaks(int(speaker.name)):
                texts = _texts(speaker / f"{speaker.name}.txt")
                for name, emotion in self.words.items():
                    for path in self.beneath(speaker / name):
                        yield self._row(path, speaker.name, emotion, texts.get(path.stem))

    def _speaks(self, number: int) -> bool:
        return self.language == "both" or (number in ENGLISH) == (self.language == "english")

    def _row(self, path: Path, speaker: str, emotion: str, text: str | None) -> Row:
        number = path.stem.rpartition("_")[2]
        # by place and not by words, since some speakers' transcripts differ in a letter
        place = (int(number) - 1) % PER_EMOTION if number.isdigit() else None
        language = "en" if int(speaker) in ENGLISH else "zh"
        return Row(
            id=path.stem,
            path=self.inside(path),
            speaker=speaker,
            sentence=sentence_id(text) if place is None else f"{language}-{place + 1:03d}",
            text=text,
            gender="F" if int(speaker) in WOMEN else "M",
            emotion=emotion,
            split=SPLITS.get(path.parent.name, "") if self.own_splits else "",
        )


def _texts(path: Path) -> dict[str, str]:
    """Utterance id -> words, of lines `0011_000001<tab>words<tab>emotion` in any of the encodings they come in."""
    data = path.read_bytes() if path.is_file() else b""
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in _ENCODINGS[1:2] if marked else (_ENCODINGS[0], _ENCODINGS[2]):
        try:
            lines = data.decode(encoding).splitlines()
        except UnicodeDecodeError:
            continue
        columns = [line.split("\t") for line in lines]
        return {c[0].strip(): c[1].strip() for c in columns if len(c) > 1 and c[1].strip()}
    return {}
