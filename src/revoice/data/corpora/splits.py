"""Who and what is trained on: seeded splits by speaker and by sentence, the same on every machine."""

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from revoice.data.corpora.base import sentence_id
from revoice.data.corpora.manifest import SPLITS, Manifest, Row
from revoice.errors import UserError, choices
from revoice.settings import Count, Fraction, Names, Natural, settings


@settings
class Splits:
    """The rule that gives each utterance `train`, `val`, `test_seen` or `test_unseen`.

    Every draw orders names by a hash of (seed, purpose, name), so that it is the same on every machine, and a new
    speaker or sentence does not move the others. In this order:

    1. *Unseen speakers* are drawn from the voices with two or more clips (a voice with one clip cannot be reference and
       enrolment at once; voices with one clip follow only if a count asks for more), genders in proportion. All their
       clips become `test_unseen`. One speaker is always left to train on.
    2. *Test sentences* of the remaining speakers become `test_seen`: a sentence said by several speakers leaves
       training for all of them. A fraction is taken of the sentences that more than half of the speakers say, of those
       that several say (each time at least one, if there are two or more), and of each speaker's other clips; a count
       is taken in that order. A clip whose sentence is unknown is a sentence of its own. A sentence that is some
       speaker's last one is passed over.
    3. *val*: a fraction of each speaker's remaining clips, at least one clip in all, never a speaker's last one.
    4. The rest is `train`.

    Rows that arrive with a split keep it, and a split that some rows bring is not drawn for the others. A speaker whose
    sentences are all named as test sentences counts as unseen.

    Attributes:
        seed: of the draws; not the seed of the training run.
        unseen_speakers: fraction (below 1) of the voices with two or more clips, or count, or names.
        test_sentences: fraction or count of sentences, or sentence ids or texts.
        val: fraction of clips.
        limit: keep only so many clips of each speaker, and twice as many speakers, in each split; None keeps all.
    """

    seed: Natural = 0
    unseen_speakers: Natural | Fraction | Names = 0.1
    test_sentences: Natural | Fraction | Names = 0.1
    val: Fraction = 0.05
    limit: Count | None = None

    def assign(self, manifest: Manifest) -> Manifest:
        """The manifest with every row's split set, and `info["splits"]` telling how.

        Raises:
            UserError: an unknown speaker or sentence is named, or pinned rows make a speaker both unseen and seen.
        """
        pinned = {row.split for row in manifest if row.split}
        splits = {row.id: row.split for row in manifest if row.split}
        free = [row for row in manifest if not row.split]
        unseen = {row.speaker for row in manifest if row.split == "test_unseen"}
        if "test_unseen" not in pinned:
            unseen |= self._unseen(manifest, taken={row.speaker for row in manifest if row.split})
        held = self._held_out(manifest, [row for row in free if row.speaker not in unseen], "test_seen" not in pinned)
        seen = [row for row in free if row.speaker not in unseen and unit(row) not in held]
        unseen |= (
            {row.speaker for row in free} - {row.speaker for row in seen} - {r.speaker for r in manifest if r.split}
        )
        val = self._val(seen) if "val" not in pinned else set()
        for row in free:
            taught = "val" if row.id in val else "train"
            splits[row.id] = "test_unseen" if row.speaker in unseen else "test_seen" if unit(row) in held else taught
        result = manifest.with_rows(replace(row, split=splits[row.id]) for row in manifest)
        _check_unseen(result)
        if self.limit is not None:
            result = result.with_rows(_limited(result.rows, self.limit))
        return replace(result, info={**manifest.info, "splits": self._record(result)})

    def _unseen(self, manifest: Manifest, taken: set[str]) -> set[str]:
        if not isinstance(self.unseen_speakers, (int, float)):
            known = manifest.speakers
            return {_named(str(name), known, "speaker (data.splits.unseen_speakers)") for name in self.unseen_speakers}
        clips = Counter(row.speaker for row in manifest if row.speaker not in taken)
        genders = {row.speaker: row.gender or "" for row in manifest}
        several = self._by_gender([name for name in clips if clips[name] > 1], genders)
        single = self._by_gender([name for name in clips if clips[name] == 1], genders)
        fraction = self.unseen_speakers < 1
        count = round(self.unseen_speakers * len(several)) if fraction else int(self.unseen_speakers)
        if fraction and self.unseen_speakers > 0 and len(several) > 1:
            count = max(count, 1)
        return set((several + single)[: min(count, len(clips) - (0 if taken else 1))]) if clips else set()

    def _by_gender(self, names: list[str], genders: dict[str, str]) -> list[str]:
        """Names in hash order, mixed so that every first part holds the genders in proportion."""
        groups: dict[str, list[str]] = defaultdict(list)
        for name in self._order(names, "speaker"):
            groups[genders[name]].append(name)
        place = {name: (rank + 0.5) / len(group) for group in groups.values() for rank, name in enumerate(group)}
        return sorted(place, key=lambda name: (place[name], self._hash("speaker", name)))

    def _held_out(self, manifest: Manifest, rows: list[Row], draw: bool) -> set[str]:
        """Units that no seen speaker may train on."""
        held = {unit(row) for row in manifest if row.split == "test_seen"}
        if not isinstance(self.test_sentences, (int, float)):
            known = {row.sentence for row in manifest if row.sentence} | {unit(row) for row in rows}
            names = [str(name) for name in self.test_sentences]
            return held | {_named(n if n in known else sentence_id(n) or n, known, "sentence") for n in names}
        taught = {unit(row) for row in manifest if row.split in ("train", "val")}
        return held | (self._draw_units(manifest, rows, taught | held) if draw else set())

    def _draw_units(self, manifest: Manifest, rows: list[Row], barred: set[str]) -> set[str]:
        assert isinstance(self.test_sentences, (int, float))
        sayers: dict[str, set[str]] = defaultdict(set)
        for row in manifest:
            sayers[unit(row)].add(row.speaker)
        clips: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            clips[unit(row)][row.speaker] += 1
        order = [name for name in self._order(clips, "sentence") if name not in barred]
        half = len(manifest.speakers) / 2
        common = [name for name in order if len(sayers[name]) > max(1, half)]
        shared = [name for name in order if 1 < len(sayers[name]) <= half]
        single = [name for name in order if len(sayers[name]) == 1]
        left = Counter(row.speaker for row in rows)
        if self.test_sentences >= 1:
            return set(_take(common + shared + single, int(self.test_sentences), clips, left))
        held: set[str] = set()
        for names in (common, shared):
            least = 1 if self.test_sentences > 0 and len(names) > 1 else 0
            held |= set(_take(names, max(least, round(self.test_sentences * len(names))), clips, left))
        own: dict[str, list[str]] = defaultdict(list)
        for name in single:
            own[next(iter(clips[name]))].append(name)
        for speaker in sorted(own):
            held |= set(_take(own[speaker], self._share(self.test_sentences, len(own[speaker]), speaker), clips, left))
        return held

    def _val(self, rows: list[Row]) -> set[str]:
        """Ids of the validation rows."""
        by_speaker: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            by_speaker[row.speaker][unit(row)].append(row.id)
        chosen: set[str] = set()
        for speaker, units in sorted(by_speaker.items()):
            count = min(self._share(self.val, len(units), f"val/{speaker}"), len(units) - 1)
            chosen.update(id for name in self._order(units, f"val/{speaker}")[:count] for id in units[name])
        if not chosen and self.val > 0:
            for speaker in self._order([name for name, units in by_speaker.items() if len(units) > 1], "val")[:1]:
                chosen.update(by_speaker[speaker][self._order(by_speaker[speaker], f"val/{speaker}")[0]])
        return chosen

    def _share(self, fraction: float, count: int, name: str) -> int:
        """`fraction` of `count`, rounded up or down by a draw so that small speakers add up to the fraction."""
        return int(fraction * count + self._hash("share", name) / 2**64)

    def _order(self, names: Iterable[str], purpose: str) -> list[str]:
        return sorted(names, key=lambda name: (self._hash(purpose, name), name))

    def _hash(self, purpose: str, name: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{purpose}/{name}".encode()).digest()[:8], "big")

    def _record(self, manifest: Manifest) -> dict[str, Any]:
        counts = Counter(row.split for row in manifest)
        return {
            "seed": self.seed,
            "unseen_speakers": sorted({row.speaker for row in manifest if row.split == "test_unseen"}),
            "test_sentences": sorted({unit(row) for row in manifest if row.split == "test_seen"}),
            "val": self.val,
            "counts": {name: counts[name] for name in SPLITS},
        }


def _limited(rows: Iterable[Row], limit: int) -> list[Row]:
    kept: list[Row] = []
    speakers: dict[str, set[str]] = defaultdict(set)
    clips: Counter[tuple[str, str]] = Counter()
    for row in rows:
        everyone = speakers[row.split]
        if row.speaker in everyone or len(everyone) < 2 * limit:
            everyone.add(row.speaker)
            clips[row.split, row.speaker] += 1
            if clips[row.split, row.speaker] <= limit:
                kept.append(row)
    return kept


def unit(row: Row) -> str:
    """What is held out together: the sentence, or the clip itself where the sentence is unknown."""
    return row.sentence or row.id


def mark(row: Row) -> str:
    """Eight letters that stand for the row's `unit`, also where a mixture has put a name in front of its id."""
    said = row.sentence or row.id.rpartition("--")[2]
    return base64.b64encode(hashlib.sha256(said.encode()).digest()[:6]).decode()


def _take(names: list[str], count: int, clips: dict[str, Counter[str]], left: Counter[str]) -> list[str]:
    """The first `count` names that leave every speaker at least one clip; `left` is brought up to date."""
    taken: list[str] = []
    for name in names:
        if len(taken) == count:
            break
        if all(left[speaker] > number for speaker, number in clips[name].items()):
            left.subtract(clips[name])
            taken.append(name)
    return taken


def _named(name: str, known: Iterable[str], what: str) -> str:
    if name not in known:
        raise choices(name, known, what)
    return name


def _check_unseen(manifest: Manifest) -> None:
    """Pinned splits may not make a speaker both unseen and seen."""
    seen = {row.speaker: row.id for row in manifest if row.split != "test_unseen"}
    for row in manifest:
        if row.split == "test_unseen" and row.speaker in seen:
            raise UserError(
                f"speaker '{row.speaker}' is test_unseen in {row.id} but not in {seen[row.speaker]}: "
                "an unseen speaker must be unseen in every row; make the rows agree (test_seen is for known speakers)"
            )
