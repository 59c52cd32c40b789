"""The embedded corpus: many voices say the same sentences, so every conversion has a true recording to compare with."""

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.espeak.make import More, Recipe, Several, Styles, make_corpus
from revoice.data.corpora.manifest import Row
from revoice.data.corpora.vctk import VCTK
from revoice.data.files import locked
from revoice.data.prepare.progress import Progress
from revoice.data.prepare.workers import usable_cpus
from revoice.settings import Count, Natural, Place

log = logging.getLogger(__name__)
CLIPS_PER_SECOND, CLIP_BYTES = 19, 96_000  # spoken by a core; of a clip, on average


@CORPORA.register("synthetic")
class Synthetic(VCTK):
    """espeak-ng's voices in VCTK 0.92's layout, made at the first use; splits, styles and phoneme times come with it.

    Args:
        root: the corpus lies in a folder of this one, named after its recipe.
        sentences, test_sentences, per_voice, tested_voices, styles, styled_voices, max_voices, more_voices, drawn:
            see `espeak.make.Recipe`.
        limit: of `Splits`: a limited corpus is spoken small.
    """

    title = "embedded corpus"
    where_to_get = "it is made by espeak-ng: pip install 'revoice[synthetic]'"

    def __init__(
        self,
        root: Place | None,
        sentences: Several = 100,
        test_sentences: Several = 20,
        per_voice: Count | None = 20,
        tested_voices: Natural | None = 60,
        styles: Styles = ("neutral",),
        styled_voices: Natural = 8,
        max_voices: Count | None = None,
        more_voices: More = 0,
        drawn: More = 0,
        limit: Count | None = None,
    ) -> None:
        if limit is not None:  # a corpus of a few clips is wanted: speak no more
            sentences, test_sentences, max_voices = min(sentences, 6), min(test_sentences, 4), min(max_voices or 4, 4)
            more_voices = drawn = 0
        self.recipe = Recipe(
            sentences=sentences, test_sentences=test_sentences, per_voice=per_voice, tested_voices=tested_voices,
            styles=styles, styled_voices=styled_voices, max_voices=max_voices, more_voices=more_voices,
            drawn=drawn,
        )  # fmt: skip
        super().__init__(root / self.recipe.key() if root else None)

    def make(self) -> None:
        """Speak the corpus unless it is there; other processes wait."""
        if (self.root / "utterances.jsonl").is_file():
            return
        clips = self.recipe.utterances()
        minutes, megabytes = clips / (CLIPS_PER_SECOND * usable_cpus()) / 60, clips * CLIP_BYTES / 1e6
        if minutes > 1:
            log.info(
                "the embedded corpus is not here yet: %s clips will be spoken, about %.0f minutes and %.0f MB in %s; "
                "data.corpus.max_voices=50 speaks fewer", f"{clips:,}", minutes, megabytes, self.root,
            )  # fmt: skip
        with locked(self.root.parent), Progress("speaking the embedded corpus", clips, True) as bar:
            make_corpus(self.root, self.recipe, progress=bar.advance)

    def rows(self) -> Iterable[Row]:
        """VCTK's rows with the split, style and phoneme times of each utterance."""
        for row in super().rows():
            more = self._utterances[row.id]
            phones = [(name, float(start)) for name, start in more["phones"]]
            yield replace(row, split=more["split"], emotion=more["emotion"], phones=phones)

    @cached_property
    def _utterances(self) -> dict[str, dict[str, Any]]:
        lines = (self.root / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
        return {row["id"]: row for row in map(json.loads, lines)}
