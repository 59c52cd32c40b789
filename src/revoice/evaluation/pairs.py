"""Which clips an evaluation converts, to which voices, and what each result is compared with."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError, choices

GROUPS = ("unseen", "seen")
TRAINING = ("train", "val")
Kinds = Literal["gender", "accent"]  # what pairs of voices may be told apart by
_CHOICES = 2  # of references for each target voice, dealt to the sources in turn


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One conversion and all that is needed to judge it.

    The references and both enrolments are of sentences other than the source's, and no clip of the target is both
    reference and enrolment.

    Attributes:
        source: the clip to convert.
        references: clips of the target voice that the converter is given.
        true_target: the target voice saying the source's sentence, None if not recorded.
        enrol_target, enrol_source: clips that tell a verifier what the two voices sound like.
    """

    source: Row
    references: tuple[Row, ...]
    true_target: Row | None
    enrol_target: tuple[Row, ...]
    enrol_source: tuple[Row, ...]

    @property
    def target(self) -> str:
        """Name of the target voice."""
        return self.references[0].speaker

    @property
    def pair(self) -> tuple[str, str]:
        """Source and target voice."""
        return self.source.speaker, self.target

    @property
    def same_gender(self) -> bool | None:
        """None if a gender is unknown."""
        a, b = self.source.gender, self.references[0].gender
        return a == b if a and b else None


def said(row: Row) -> str:
    """What is said: rows with equal values must not be each other's reference. Unknown words count as unique."""
    return row.sentence or (row.text or "").strip().lower() or f"clip {row.id}"


def pick_trials(
    manifest: Manifest,
    group: str,
    *,
    speakers: int | None = 8,
    sentences_per_pair: int = 1,
    references: int | None = 1,
    enrolment: int = 8,
    seed: int = 0,
    pairs: int | None = None,
    by: Sequence[Kinds] = ("gender",),
    parallel: bool = False,
    same_sources: bool = False,
) -> list[Trial]:
    """Ordered pairs of some voices, on sentences that training never saw.

    Both directions of a pair say the same sentences, so that each recording serves as a source and as a true target.

    Args:
        manifest: with splits.
        group: "unseen" (voices of split test_unseen) or "seen" (voices of split test_seen, which were trained on).
        speakers: number of voices, half of each gender where there are enough; fewer if there are fewer; None: all.
        sentences_per_pair: sentences of each ordered pair; fewer if a voice has fewer.
        references: clips given to the converter in each trial; None: all of the target that enrolment can spare.
        enrolment: most clips that make a voice's enrolment.
        seed: of every choice; equal on every machine.
        pairs: so many ordered pairs of each kind; None: all of all kinds.
        by: what makes a kind: the genders (or accents) of source and target.
        parallel: only conversions whose true target was recorded.
        same_sources: the same utterances of a voice go to every target, as in kNN-VC's protocol (Baas et al., 2023).

    Raises:
        UserError: the corpus cannot give two such voices, or no such pair; the message says what it lacks.
    """
    if group not in GROUPS:
        raise choices(group, GROUPS, "group of test voices")
    if speakers is not None and speakers < 2:
        raise UserError(f"speakers={speakers}: a pair needs two voices, expected speakers=2 or more")
    usable = _voices(manifest, group, needed=3 if references is None else references + 2)
    voices = usable if speakers is None else _balanced(usable, speakers)
    trials = []
    for a, b in _pairs(voices, pairs, by, seed):
        unordered = max(a, b) * (max(a, b) - 1) // 2 + min(a, b)
        source, target = voices[a], voices[b]
        begin = a if same_sources else unordered
        sentences = _rotated(source, target, begin * sentences_per_pair, same_sources)
        for sentence in sentences[:sentences_per_pair]:
            if parallel and sentence not in target.tests:
                continue
            # one of a few choices of references per voice: what a system makes of them, it makes a few times only
            others = target.other_clips(sentence, f"{seed}/{a % _CHOICES}")
            spared = min(enrolment, max(1, len(others) // 3))
            given = others[:-spared] if references is None else others[:references]
            enrolling = [clip for clip in target.other_clips(sentence, str(seed)) if clip not in given]
            trial = Trial(
                source=source.tests[sentence],
                references=tuple(given),
                true_target=target.tests.get(sentence),
                enrol_target=tuple(enrolling[:enrolment]),
                enrol_source=tuple(source.other_clips(sentence, str(seed))[:enrolment]),
            )
            trials.append(trial)
    if not trials:
        raise UserError(
            f"corpus '{manifest.corpus}', {group} voices: no two of them say one sentence, which parallel=true asks "
            "for: type metrics.parallel=false"
        )
    return trials


def _pairs(voices: "Sequence[_Voice]", count: int | None, by: Sequence[Kinds], seed: int) -> list[tuple[int, int]]:
    """Places of all ordered pairs, or `count` of each kind, those of a chance that `seed` settles."""
    every = list(permutations(range(len(voices)), 2))
    if count is None:
        return every
    kinds: dict[tuple[str | None, ...], list[tuple[int, int]]] = {}
    for a, b in every:
        kinds.setdefault(tuple(getattr(voices[i], name) for name in by for i in (a, b)), []).append((a, b))
    chosen = [
        pair
        for kind in kinds.values()
        for pair in sorted(kind, key=lambda ab: _chance(f"{seed}/{voices[ab[0]].name}/{voices[ab[1]].name}"))[:count]
    ]
    return sorted(chosen)


def _chance(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class _Voice:
    """A voice that can take part: its clips by sentence, and those of them that may be converted."""

    name: str
    clips: dict[str, Row]
    tests: dict[str, Row]

    @property
    def gender(self) -> str | None:
        return next(iter(self.clips.values())).gender

    @property
    def accent(self) -> str | None:
        return next(iter(self.clips.values())).accent

    def other_clips(self, sentence: str, key: str) -> list[Row]:
        """Clips of other sentences, test clips first, each part in an order of chance that `key` settles."""

        def order(row: Row) -> tuple[bool, str]:
            return row.split in TRAINING, _chance(f"{key}/{row.id}")

        return sorted((row for words, row in self.clips.items() if words != sentence), key=order)


def _voices(manifest: Manifest, group: str, needed: int) -> list[_Voice]:
    """The group's voices with `needed` or more sentences, at least one of them outside training.

    Seen voices may lend training clips as references and enrolments.
    """
    test = f"test_{group}"
    trained = {said(row) for row in manifest if row.split in TRAINING}
    names = sorted({row.speaker for row in manifest if row.split == test})
    voices = {name: _Voice(name, {}, {}) for name in names}
    for split in (test, *(TRAINING if group == "seen" else ())):
        for row in manifest.select(split):
            if row.speaker in voices:
                voices[row.speaker].clips.setdefault(said(row), row)
                if split == test and said(row) not in trained:
                    voices[row.speaker].tests.setdefault(said(row), row)
    rich = [voice for voice in voices.values() if len(voice.clips) >= needed]
    usable = [voice for voice in rich if voice.tests]
    if len(usable) < 2:
        raise UserError(
            f"corpus '{manifest.corpus}', {group} voices: {len(names)} in split {test}, {len(rich)} of them with "
            f"{needed} or more sentences, {len(usable)} of these with a sentence that training never saw; expected "
            "2 or more of the last: choose a larger part of the corpus, or a split with more test voices and sentences"
        )
    return usable


def _balanced(voices: Sequence[_Voice], count: int) -> list[_Voice]:
    """`count` voices, evenly spaced in the sorted list of each gender, as many of each gender as there are."""
    women = [voice for voice in voices if voice.gender == "F"]
    others = [voice for voice in voices if voice.gender != "F"]
    first = min(len(women), max(count // 2, count - len(others)))
    second = min(len(others), count - first)
    return sorted(_spaced(women, first) + _spaced(others, second), key=lambda voice: voice.name)


def _spaced(voices: Sequence[_Voice], count: int) -> list[_Voice]:
    return [voices[i * len(voices) // count] for i in range(count)]


def _rotated(source: _Voice, target: _Voice, start: int, same: bool) -> list[str]:
    """Sentences of the source, those that the target says too if there are any, beginning elsewhere for each pair.

    With `same`, all of the source's, whatever the target says.
    """
    shared = [] if same else sorted(set(source.tests) & set(target.tests))
    sentences = shared or sorted(source.tests)
    return [sentences[(start + i) % len(sentences)] for i in range(len(sentences))]
