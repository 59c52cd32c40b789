"""Who was trained on is not unseen, and a name of another corpus is somebody else's."""

from pathlib import Path

import pytest

from revoice.checkpoint.description import Description
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.protocol import Protocol, usable_trials
from revoice.evaluation.training_voices import TrainingVoices, doubts, sorted_out, training_voices


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
