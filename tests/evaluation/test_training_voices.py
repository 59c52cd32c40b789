"""Who was trained on is not unseen, and a name of another corpus is somebody else's."""

from dataclasses import replace
from pathlib import Path

import pytest

from revoice.checkpoint import description
from revoice.checkpoint.description import Description, packed, unpacked
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.corpora.splits import Splits, mark
from revoice.data.read.mixture import combined
from revoice.errors import UserError
from revoice.evaluation.pairs import Trial, pick_trials
from revoice.evaluation.protocol import Protocol, trials_for, usable_trials
from revoice.evaluation.protocol_file import save_protocol
from revoice.evaluation.session import evaluate_systems
from revoice.evaluation.training_voices import TrainingVoices, doubts, sorted_out, taught_before, training_voices


def system(corpus: str | None, *speakers: str) -> Description:
    return Description(
        model="a", arguments={}, features={}, speakers=list(speakers), data={"corpus": corpus} if corpus else {}
    )


def there(corpus: str, *speakers: str) -> Manifest:
    return Manifest(corpus, Path(), tuple(Row(id=name, path="", speaker=name) for name in speakers))


@pytest.mark.parametrize(
    ("trained", "corpus", "known"),
    [
        ("vctk", "vctk", True),
        ("synthetic+vctk", "vctk", True),
        ("librispeech", "libritts", True),
        ("librispeech", "crema_d", False),
        ("synthetic+librispeech", "crema_d", False),
        ("folder", "crema_d", True),  # may be the same recordings
        (None, "crema_d", True),
    ],
)
def test_a_voice_is_a_name_in_a_corpus(trained: str | None, corpus: str, known: bool) -> None:
    voices = frozenset({"1034"} if known else {})
    assert training_voices([system(trained, "1034", "7")], there(corpus, "1034", "8")) == TrainingVoices(voices, voices)


def test_voices_of_mixtures_may_be_known_by_longer_names() -> None:
    mixture = system("librispeech+crema_d", "crema_d-1034", "librispeech-1034", "9")
    assert training_voices([mixture], there("crema_d", "1034", "8")) == TrainingVoices(frozenset({"1034"}))
    both = there("librispeech+crema_d", "crema_d-1034", "librispeech-1034", "8")
    assert training_voices([mixture], both).every == {"crema_d-1034", "librispeech-1034"}
    assert training_voices([system("crema_d", "1034")], both).some == {"crema_d-1034", "librispeech-1034"}
    copies = system("vctk+speeds", "p1", "p1-x088")
    assert training_voices([copies], there("vctk", "p1", "p2")).some == {"p1"}


def test_voices_of_what_a_system_was_started_from_are_its_own() -> None:
    tuned = Description(
        model="a", arguments={}, features={}, speakers=["anna"], data={"corpus": "folder"},
        earlier={"vctk": ["p1", "p2"], "crema_d": ["1034"]},
    )  # fmt: skip
    assert Description.from_dict(tuned.to_dict()).heard == {**tuned.earlier, "folder": ["anna"]}
    assert training_voices([tuned], there("vctk", "p1", "p3", "1034")).every == {"p1"}
    assert training_voices([tuned], there("crema_d", "1034", "anna")).every == {"1034", "anna"}
    assert training_voices([tuned], there("esd", "p1")) == TrainingVoices()


def test_seen_are_voices_of_all_systems_and_unseen_of_none() -> None:
    untrained = system(None)
    systems = [system("made", "a", "b"), system("made", "b", "c"), untrained]
    found = training_voices(systems, there("made", "a", "b", "c", "d"))
    assert found == TrainingVoices(frozenset("abc"), frozenset("b"))
    assert training_voices([untrained], there("made", "a")) == TrainingVoices()


def test_test_voices_are_what_their_splits_call_them(corpus: Manifest) -> None:
    known = TrainingVoices(frozenset({"anna", "emma", "finn"}), frozenset({"emma"}))
    kept, gone = sorted_out(corpus, known)
    assert kept.select("test_unseen").speakers == ["bert", "cleo", "dirk"]
    assert kept.select("test_seen").speakers == ["emma"] and kept.select("train").speakers == ["emma", "finn"]
    assert "1 voice (anna) of split test_unseen" in gone["unseen"] and "1 voice (finn)" in gone["seen"]
    foreign, gone = sorted_out(corpus, TrainingVoices())
    assert len(foreign.select("test_unseen")) == len(corpus) and not gone


def test_a_voice_that_was_trained_on_is_in_no_unseen_pair(corpus: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    known = training_voices([system("tones", "anna", "emma", "finn")], corpus)
    found = usable_trials(corpus, Protocol(voices=6), known)
    assert {name for trial in found.trials["unseen"] for name in trial.pair} == {"bert", "cleo", "dirk"}
    assert {name for trial in found.trials["seen"] for name in trial.pair} == {"emma", "finn"}
    assert "anna" in found.left_out[0] and "anna" in caplog.text


def test_why_there_is_nothing_to_evaluate(corpus: Manifest) -> None:
    known = TrainingVoices(frozenset(corpus.speakers))
    with pytest.raises(UserError, match="unseen: 4 voices .* that a system was trained on") as error:
        usable_trials(corpus, Protocol(groups=("unseen",)), known)
    assert "\n" not in str(error.value)


def test_a_protocol_of_others_is_doubted_and_kept() -> None:
    known = TrainingVoices(frozenset("ab"), frozenset("a"))
    first, second = doubts("bc", "ab", known)
    assert first == "a system was trained on 1 voice (b) that the protocol calls unseen"
    assert second == "not every system was trained on 1 voice (b) that the protocol calls seen"
    assert not doubts("c", "a", known)


def library(common: int = 30) -> Manifest:
    """Eight voices say `common` sentences, and each 30 of which the words are not known."""
    rows = []
    for s in range(8):
        for k, sentence in enumerate([*(f"t{k}" for k in range(common)), *[None] * 30]):
            rows.append(Row(id=f"s{s}-{k}", path="x", speaker=f"s{s}", gender="FM"[s % 2], sentence=sentence))
    return Manifest("library", Path(), ()).with_rows(rows)


def learned(manifest: Manifest, corpus: str = "library") -> Description:
    """What a checkpoint says that was trained on the manifest."""
    heard = manifest.select("train", "val")
    about = system(corpus, *manifest.select("train").speakers)
    return replace(about, sentences=packed({corpus: {mark(row) for row in heard}}))


def trained_on(trials: list[Trial], manifest: Manifest) -> list[bool]:
    """Of each trial whether its source, or the target's own recording, was trained on."""
    ids = {row.id.rpartition("--")[2] for row in manifest.select("train", "val")}
    asked = [(trial.source, trial.true_target) for trial in trials]
    return [any(row is not None and row.id.rpartition("--")[2] in ids for row in rows) for rows in asked]


SPLIT = {"unseen_speakers": 0, "test_sentences": 0.3}
SEEN = Protocol(groups=("seen",), voices=None, sentences_per_pair=4)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("common", [0, 30])
@pytest.mark.parametrize("other", [{"seed": 1}, {"test_sentences": 0.1}])
def test_a_recording_that_was_trained_on_is_in_no_seen_pair(mixed: bool, common: int, other: dict[str, float]) -> None:
    """Whatever the splits of the evaluation say."""
    then, now = Splits(**{**SPLIT, **other}).assign(library(common)), Splits(**SPLIT).assign(library(common))
    if mixed:
        now = combined({"mine": now})
    about = learned(then)
    silent = trials_for(now, SEEN, training_voices([replace(about, sentences={})], now))["seen"]
    assert sum(trained_on(silent, then)) > len(silent) / 2, "or this shows nothing"
    known = training_voices([about], now)
    found = trials_for(now, SEEN, known)["seen"]
    assert found and not any(trained_on(found, then))
    said = sorted_out(now, known)[1]["seen"]
    rows = [row for row in now.select("test_seen") if row.speaker in known.every]
    taught = sum(row.id.rpartition("--")[2] in {one.id for one in then.select("train", "val")} for row in rows)
    assert f"{taught} of {len(rows)} recordings of split test_seen whose sentence a system was trained on" in said


def test_the_splits_of_the_training_lose_nothing() -> None:
    manifest = Splits(**SPLIT).assign(library())
    known = training_voices([learned(manifest)], manifest)
    assert sorted_out(manifest, known) == (manifest, {})


def test_what_all_recordings_say_was_trained_on() -> None:
    then, now = (Splits(seed=seed, **SPLIT).assign(library()) for seed in (0, 1))
    everything = learned(then.with_rows(replace(row, split="train") for row in then))
    with pytest.raises(UserError, match="recordings of split test_seen whose sentence") as error:
        trials_for(now, SEEN, training_voices([everything], now))
    assert "\n" not in str(error.value)


def test_sentences_of_what_a_system_was_started_from_are_its_own() -> None:
    manifest = Splits(**SPLIT).assign(library())
    first, other = learned(manifest), system("folder", "anna")
    tuned = other.after([first])
    assert tuned.sentences == first.sentences and tuned.earlier == {"library": first.speakers}
    assert training_voices([tuned], manifest).sentences == unpacked(first.sentences["library"])
    again = first.after([first, system("library", "s0", "s99")])
    assert again.earlier == {"library": ["s99"]} and again.sentences == first.sentences, "nothing is told twice"
    assert not training_voices([learned(manifest, "vctk")], replace(manifest, corpus="esd")).sentences


def test_more_sentences_than_there_is_room_for_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "SENTENCES", 3)
    marks = [mark(Row(id=str(number), path="", speaker="")) for number in range(6)]
    assert list(packed({"a": marks[:2], "b": marks[2:], "c": marks[5:]})) == ["a", "c"]


def test_a_protocol_of_others_with_sentences_that_were_trained_on_is_doubted(
    corpus: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = {"seen": pick_trials(corpus, "seen", speakers=2)}
    marks = frozenset(mark(row) for row in corpus)
    assert not taught_before(trials["seen"], TrainingVoices()) and not taught_before([], TrainingVoices())
    said = taught_before(trials["seen"], TrainingVoices(sentences=marks))
    assert said == ("a system was trained on the sentences of 2 of 2 trials of seen voices",)
    save_protocol(tmp_path / "protocol.json", trials, corpus, {})
    chosen = []

    def stop(_: object, found: object) -> None:
        chosen.append(found)
        raise KeyboardInterrupt

    monkeypatch.setattr("revoice.evaluation.session._require_voices", stop)
    known = TrainingVoices(*2 * [frozenset({"emma", "finn"})], sentences=marks)
    monkeypatch.setattr("revoice.evaluation.session.training_voices", lambda *_: known)
    with pytest.raises(KeyboardInterrupt):
        evaluate_systems({}, corpus, Protocol(), tmp_path / "out", stored=tmp_path / "protocol.json")
    assert chosen[0].trials == trials and chosen[0].remarks == said
