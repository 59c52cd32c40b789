"""RAVDESS (Livingstone and Russo, PLoS ONE 2018): 24 actors, two sentences, eight emotions."""

import re
from collections.abc import Iterator

from revoice.data.corpora.base import CORPORA, sentence_id
from revoice.data.corpora.labeled.emotional import Emotional, Emotions
from revoice.data.corpora.manifest import Row
from revoice.settings import Flag, Place

STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
SPEECH = "01"  # the other vocal channel is song
_NAME = re.compile(r"\d\d-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")


@CORPORA.register("ravdess")
class RAVDESS(Emotional):
    """Reads `Actor_NN/MODALITY-CHANNEL-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR.wav`; odd actors are men.

    Args:
        root: the corpus folder.
        emotions: which to read of neutral, calm, happy, sad, angry, fearful, disgusted, surprised; None: all.
        song: read what is sung, too.
    """

    title = "RAVDESS"
    accent = "en-us"
    where_to_get = "get Audio_Speech_Actors_01-24.zip from Zenodo (zenodo.org/record/1188976)"
    layout = "Actor_01/03-01-05-01-02-01-01.wav"
    words = dict(
        zip(
            (f"{number:02d}" for number in range(1, 9)),
            ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),
            strict=True,
        )
    )

    def __init__(self, root: Place | None, emotions: Emotions | None = None, song: Flag = False) -> None:
        super().__init__(root, emotions)
        self.song = song

    def everything(self) -> Iterator[Row]:
        """One row per recording whose name is made as the corpus makes them."""
        for path in self.beneath(self.root):
            parts = _NAME.fullmatch(path.stem)
            if parts is None or parts[2] not in self.words:
                self.passed_over["with another name"] += 1
                continue
            channel, emotion, _, statement, _, actor = parts.groups()
            if channel == SPEECH or self.song:
                text = STATEMENTS.get(statement)
                yield Row(
                    id=path.stem, path=self.inside(path), speaker=f"actor{actor}", sentence=sentence_id(text),
                    text=text, gender="M" if int(actor) % 2 else "F", emotion=self.words[emotion],
                )  # fmt: skip
