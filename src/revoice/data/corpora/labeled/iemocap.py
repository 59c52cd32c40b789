"""IEMOCAP (Busso et al., Language Resources and Evaluation 2008): ten actors in five sessions of dialogue."""

import re
from collections.abc import Iterator
from pathlib import Path

from revoice.data.corpora.base import CORPORA, read_text, sentence_id, visible
from revoice.data.corpora.labeled.emotional import Emotional, Emotions
from revoice.data.corpora.manifest import Row
from revoice.settings import Flag, Place

SPLITS = {"Session4": "val", "Session5": "test_unseen"}  # as emotional voice cloning has it; the others train
_LABEL = re.compile(r"\[[^\]]*\]\s+(\S+)\s+([a-z]{3})\s")  # [6.29 - 8.23] Ses01F_impro01_F000 neu [2.5, 2.5, 2.5]
_WORDS = re.compile(r"(\S+)\s+\[[^\]]*\]:\s*(.+)")  # Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
_TURN = re.compile(r"(Ses\d\d)[FM]_.+_([FM])\w?\d+")


@CORPORA.register("iemocap")
class IEMOCAP(Emotional):
    """Reads `SessionN/sentences/wav/DIALOG/TURN.wav`, `dialog/EmoEvaluation/DIALOG.txt`, `dialog/transcriptions`.

    Turns on which the raters did not agree ("xxx") are "other". A speaker is a session and a gender, `Ses01F`.

    Args:
        root: the corpus folder, `IEMOCAP_full_release`.
        emotions: which to read; None: all. The published choice is [angry, happy, sad, neutral].
        own_splits: train on sessions 1 to 3, validate on 4, test on 5; else splits are drawn.
    """

    title = "IEMOCAP"
    accent = "en-us"
    where_to_get = "ask for it at sail.usc.edu/iemocap"
    layout = (
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav and "
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    )
    words = {
        "neu": "neutral", "hap": "happy", "sad": "sad", "ang": "angry", "exc": "excited", "fru": "frustrated",
        "fea": "fearful", "sur": "surprised", "dis": "disgusted", "oth": "other", "xxx": "other",
    }  # fmt: skip

    def __init__(self, root: Place | None, emotions: Emotions | None = None, own_splits: Flag = False) -> None:
        super().__init__(root, emotions)
        self.own_splits = own_splits

    @property
    def folder(self) -> Path:
        """The root, or the release inside it."""
        inside = self.root / "IEMOCAP_full_release"
        return inside if inside.is_dir() else self.root

    def everything(self) -> Iterator[Row]:
        """One row per turn of which the emotion is told."""
        for session in visible(self.folder):
            for dialog in visible(session / "sentences" / "wav"):
                about = session / "dialog"
                emotions = _found(_LABEL, about / "EmoEvaluation" / f"{dialog.name}.txt")
                texts = _found(_WORDS, about / "transcriptions" / f"{dialog.name}.txt")
                for path in self.beneath(dialog):
                    turn, emotion = _TURN.fullmatch(path.stem), self.words.get(emotions.get(path.stem, ""))
                    if turn is None or emotion is None:
                        self.passed_over["of which no emotion is told"] += 1
                        continue
                    yield Row(
                        id=path.stem, path=self.inside(path), speaker=turn[1] + turn[2], gender=turn[2],
                        text=texts.get(path.stem), sentence=sentence_id(texts.get(path.stem)), emotion=emotion,
                        split=SPLITS.get(session.name, "train") if self.own_splits else "",
                    )  # fmt: skip


def _found(pattern: "re.Pattern[str]", file: Path) -> dict[str, str]:
    """Turn -> what is told of it, of the lines that the pattern begins."""
    matches = (pattern.match(f"{line} ") for line in (read_text(file) or "").splitlines())
    return {m[1]: m[2].strip() for m in matches if m}
