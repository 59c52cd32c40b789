from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.pairs import Trial, pick_trials, said


def corpus(unseen: int = 10, seen: int = 6, sentences: int = 12, tests: int = 4, known: bool = True) -> Manifest:
    """Voices u00.. and s00..; the last `tests` sentences are in nobody's training."""
    rows = []
    for group, count in (("u", unseen), ("s", seen)):
        for number in range(count):
            for sentence in range(sentences):
                held = sentence >= sentences - tests
                split = "test_unseen" if group == "u" else "test_seen" if held else "train"
                voice = f"{group}{number:02}"
                rows.append(
                    Row(
                        id=f"{voice}_{sentence:03}", path=f"{voice}_{sentence}.wav", speaker=voice, split=split,
                        sentence=f"{sentence:03}" if known else None, gender="F" if number % 3 == 0 else "M",
                    )
                )  # fmt: skip
    return Manifest("made", Path("."), tuple(rows))


def check(trial: Trial) -> None:
    """What must hold of every trial."""
    used = [*trial.references, *trial.enrol_target]
    assert {row.speaker for row in used} == {trial.target}
    assert {row.speaker for row in trial.enrol_source} == {trial.source.speaker} != {trial.target}
    assert said(trial.source) not in {said(row) for row in (*used, *trial.enrol_source)}
    assert len({row.id for row in used}) == len(used)
    assert trial.enrol_target and trial.enrol_source
    if trial.true_target:
        assert trial.true_target.speaker == trial.target
        assert said(trial.true_target) == said(trial.source)


def test_all_ordered_pairs_of_eight_voices_on_sentences_outside_training() -> None:
    trials = pick_trials(corpus(), "unseen")
    assert len(trials) == len({trial.pair for trial in trials}) == 8 * 7
    for trial in trials:
        check(trial)
        assert trial.source.split == "test_unseen"
        assert int(trial.source.sentence) >= 8
        assert trial.true_target is not None
    assert {trial.source.gender for trial in trials} == {"F", "M"}
    assert sum(trial.source.gender == "F" for trial in trials) == 4 * 7
    assert {trial.same_gender for trial in trials} == {True, False}


def test_seen_voices_speak_held_out_sentences() -> None:
    trials = pick_trials(corpus(), "seen", speakers=4)
    assert len(trials) == 12
    for trial in trials:
        check(trial)
        assert trial.source.split == "test_seen"
        assert {row.split for row in trial.references} == {"test_seen"}


def test_seen_voices_may_lend_training_clips() -> None:
    for trial in pick_trials(corpus(tests=1), "seen", speakers=4):
        check(trial)
        assert {row.split for row in (*trial.references, *trial.enrol_target)} == {"train"}


def test_both_directions_say_the_same() -> None:
    said_by = {trial.pair: trial.source.sentence for trial in pick_trials(corpus(), "unseen")}
    assert all(said_by[a, b] == said_by[b, a] for a, b in said_by)
    assert len(set(said_by.values())) == 4


def test_sentences_per_pair_and_references() -> None:
    trials = pick_trials(corpus(), "unseen", speakers=3, sentences_per_pair=3, references=2, enrolment=5)
    assert len(trials) == 6 * 3
    assert len({(trial.pair, trial.source.sentence) for trial in trials}) == 18
    for trial in trials:
        check(trial)
        assert len(trial.references) == 2 and len(trial.enrol_target) == 5
    assert len(pick_trials(corpus(tests=2), "unseen", speakers=3, sentences_per_pair=9)) == 6 * 2


def test_the_same_on_every_call_and_for_any_order_of_rows_but_not_for_every_seed() -> None:
    manifest = corpus()
    assert pick_trials(manifest, "unseen") == pick_trials(replace(manifest, rows=manifest.rows[::-1]), "unseen")
    assert pick_trials(manifest, "unseen") != pick_trials(manifest, "unseen", seed=1)


def test_references_vary_a_little() -> None:
    """More than one for each voice, so that none decides alone; few, so that what is made of them is made few times."""
    trials = pick_trials(corpus(), "unseen")
    for name in {trial.target for trial in trials}:
        assert 2 <= len({trial.references for trial in trials if trial.target == name}) <= 4


def test_without_parallel_sentences() -> None:
    for trial in pick_trials(corpus(known=False), "unseen"):
        check(trial)
        assert trial.true_target is None


def test_unknown_genders() -> None:
    manifest = corpus()
    trials = pick_trials(manifest.with_rows(replace(row, gender=None) for row in manifest), "unseen")
    assert len(trials) == 56
    assert {trial.same_gender for trial in trials} == {None}


def test_fewer_voices_than_asked_for() -> None:
    assert len(pick_trials(corpus(unseen=3), "unseen")) == 6


@settings(max_examples=40, deadline=None)
@given(
    unseen=st.integers(2, 5), sentences=st.integers(3, 8), tests=st.integers(1, 8), known=st.booleans(),
    references=st.integers(1, 2), count=st.integers(1, 3), enrolment=st.integers(1, 4),
)  # fmt: skip
def test_any_corpus_gives_sound_trials_or_a_reason(
    unseen, sentences, tests, known, references, count, enrolment
) -> None:
    manifest = corpus(unseen, 2, sentences, min(tests, sentences), known)
    try:
        trials = pick_trials(manifest, "unseen", sentences_per_pair=count, references=references, enrolment=enrolment)
    except UserError:
        assert sentences < references + 2
        return
    assert {trial.pair for trial in trials} == {
        (a, b)
        for a in manifest.select("test_unseen").speakers
        for b in manifest.select("test_unseen").speakers
        if a != b
    }
    for trial in trials:
        check(trial)
        assert len(trial.references) == references and len(trial.enrol_target) <= enrolment


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (corpus(unseen=1), "1 in split test_unseen"),
        (corpus(sentences=2, tests=1), "0 of them with 3 or more sentences"),
        (corpus(tests=0), "0 of these with a sentence that training never saw"),
    ],
)
def test_the_message_says_what_the_corpus_lacks(manifest: Manifest, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        pick_trials(manifest, "unseen")
    assert "\n" not in str(error.value)


def test_wrong_settings() -> None:
    with pytest.raises(UserError, match="did you mean 'unseen'"):
        pick_trials(corpus(), "unsen")
    with pytest.raises(UserError, match="speakers=1"):
        pick_trials(corpus(), "unseen", speakers=1)
