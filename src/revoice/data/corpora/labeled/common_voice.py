"""Mozilla Common Voice: very many speakers, some of whom say their gender."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from revoice.data.corpora.base import CORPORA, Corpus, gender_of, read_text, sentence_id
from revoice.data.corpora.manifest import Row
from revoice.errors import UserError
from revoice.settings import Count, Flag, Place, Word

COLUMNS = ("client_id", "path", "gender")
SINGLE_WORDS = ("Singleword Benchmark", "Benchmark")  # a `segment` of digits, yes and no, that release 5.1 has


@CORPORA.register("common_voice")
class CommonVoice(Corpus):
    """Reads a release's `validated.tsv` (or another table) and `clips/`; a speaker is the first letters of a client id.

    Args:
        root: folder of one language, e.g. `cv-corpus-5.1-2020-06-22/en`.
        table: which utterances: "validated", "train", "dev", "test", ...
        per_speaker: at most so many clips of each speaker, those that come first by name; None: all.
        labeled: only speakers whose gender is known.
        balanced: as many men as women (of the more frequent, those that come first by a hash), as VoiceGAN had it.
    """

    title = "Common Voice"
    where_to_get = "get a language from commonvoice.mozilla.org/datasets"
    layout = "validated.tsv with the columns client_id, path, sentence, gender and clips/NAME.mp3"

    def __init__(
        self,
        root: Place | None,
        table: Word = "validated",
        per_speaker: Count | None = None,
        labeled: Flag = False,
        balanced: Flag = False,
    ) -> None:
        super().__init__(root)
        self.table, self.per_speaker, self.labeled, self.balanced = table, per_speaker, labeled, balanced

    def rows(self) -> Iterable[Row]:
        """One row per line of the table that is wanted."""
        rows = list(self._lines())
        if self.labeled or self.balanced:
            rows = [row for row in rows if row.gender]
        if self.balanced:
            rows = _balanced(rows)
        return _some(rows, self.per_speaker) if self.per_speaker else rows

    def _lines(self) -> Iterator[Row]:
        file = self.root / f"{self.table}.tsv"
        text = read_text(file)
        if text is None:
            raise self.problem(f"there is no {file}")
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
        for name in COLUMNS:
            if name not in (reader.fieldnames or ()):
                raise UserError(f"{self.title}: {file} has no column '{name}'; expected {self.layout}")
        for line in reader:
            if not line["path"] or not line["client_id"] or line.get("segment") in SINGLE_WORDS:
                continue
            name = line["path"] if Path(line["path"]).suffix else f"{line['path']}.mp3"
            sentence = line.get("sentence") or None
            yield Row(
                id=Path(name).stem, path=f"clips/{name}", speaker=line["client_id"][:16], text=sentence,
                sentence=sentence_id(sentence), gender=gender_of(line["gender"]),
                accent=line.get("accents") or line.get("accent") or None,
            )  # fmt: skip


def _balanced(rows: list[Row]) -> list[Row]:
    """The rows of as many women as men; client ids are hashes, so the first of them are anybody."""
    speakers: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        speakers[row.gender or ""].add(row.speaker)
    count = min((len(names) for names in speakers.values()), default=0) if len(speakers) > 1 else 0
    kept = {name for names in speakers.values() for name in sorted(names)[:count]}
    return [row for row in rows if row.speaker in kept]


def _some(rows: list[Row], count: int) -> Iterator[Row]:
    """At most `count` rows of each speaker."""
    met: dict[str, int] = defaultdict(int)
    for row in sorted(rows, key=lambda row: row.path):
        met[row.speaker] += 1
        if met[row.speaker] <= count:
            yield row
