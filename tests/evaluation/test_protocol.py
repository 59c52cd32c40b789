"""Protocols as files: handed over, given back, and refused when they do not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_pairs import check
from test_pairs import corpus as made

from revoice.audio.io import write_audio
from revoice.checkpoint.description import Description
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.evaluation.pairs import pick_trials
from revoice.evaluation.protocol import Protocol, needed, trials_for, usable_trials
from revoice.evaluation.protocol_file import load_protocol, save_protocol
from revoice.evaluation.session import evaluate_systems
from revoice.evaluation.training_voices import TrainingVoices

SEEN = TrainingVoices(*2 * [frozenset(f"s{i:02}" for i in range(6))])
HERE = TrainingVoices(*2 * [frozenset({"emma", "finn"})])


@pytest.fixture()
def stored(corpus: Manifest, tmp_path: Path) -> Path:
    trials = {group: pick_trials(corpus, group, speakers=4) for group in ("unseen", "seen")}
    save_protocol(tmp_path / "protocol.json", trials, corpus, {"seed": 0})
    return tmp_path / "protocol.json"


def test_what_is_stored_comes_back_the_same(corpus: Manifest, stored: Path) -> None:
    again = load_protocol(stored, corpus)
    assert again.trials == {group: pick_trials(corpus, group, speakers=4) for group in ("unseen", "seen")}
    assert again.count == 14 and not again.left_out and "protocol.json (sha256 " in again.source


def test_splits_do_not_matter_any_more(corpus: Manifest, stored: Path) -> None:
    """The file says which pairs: the same for a system that was trained on another split of the corpus."""
    other = corpus.with_rows(replace(row, split="train") for row in corpus)
    found = load_protocol(stored, other).trials["unseen"]
    assert [t.source.id for t in found] == [t.source.id for t in pick_trials(corpus, "unseen", speakers=4)]


def test_another_corpus_is_refused(corpus: Manifest, stored: Path) -> None:
    less = corpus.with_rows(row for row in corpus if row.speaker != "anna")
    with pytest.raises(UserError, match="is of corpus tones .*'anna_.' is not in data") as error:
        load_protocol(stored, less)
    assert "\n" not in str(error.value)


@pytest.fixture()
def moved(corpus: Manifest, tmp_path: Path) -> Manifest:
    """The corpus in a folder of its own, where recordings can be broken."""
    shutil.copytree(corpus.root, tmp_path / "copy")
    return replace(corpus, root=tmp_path / "copy")


def test_a_recording_that_cannot_be_read_leaves_its_trials_out(moved: Manifest, stored: Path, tmp_path: Path) -> None:
    lost = load_protocol(stored, moved).trials["unseen"][0].source
    (tmp_path / "copy" / lost.path).write_bytes(b"no sound")
    found = load_protocol(stored, moved)
    assert 0 < found.count < 14 and len(found.left_out) == 1 and lost.path in found.left_out[0]
    assert lost.id not in needed(found.trials)


def test_a_voice_is_enrolled_without_a_clip_that_cannot_be_read(moved: Manifest, stored: Path) -> None:
    before = load_protocol(stored, moved)
    trials = [trial for each in before.trials.values() for trial in each]
    spoken = {row for t in trials for row in (t.source, *t.references, t.true_target)}
    lost = next(row for t in trials for row in t.enrol_source if len(t.enrol_source) > 1 and row not in spoken)
    write_audio(moved.file(lost), np.zeros(16000, np.float32), 16000)
    found = load_protocol(stored, moved)
    assert found.count == before.count and "enrollment clips of" in found.left_out[0] and lost.path in found.left_out[0]
    assert lost.id not in needed(found.trials)


def test_a_trial_that_enrolls_nobody_is_left_out(moved: Manifest, stored: Path) -> None:
    (first, *_) = load_protocol(stored, moved).trials["unseen"]
    for row in first.enrol_source:
        moved.file(row).write_bytes(b"no sound")
    found = load_protocol(stored, moved)
    assert found.count < 14 and first.source not in [trial.source for trial in found.trials["unseen"]]


def test_clips_that_enroll_are_looked_at_before_the_work(moved: Manifest) -> None:
    trials = usable_trials(moved, Protocol(voices=4), HERE).trials
    lost = trials["unseen"][0].enrol_target[0]
    moved.file(lost).write_bytes(b"no sound")
    again = usable_trials(moved, Protocol(voices=4), HERE)
    assert lost.id not in needed(again.trials) and again.left_out[0].startswith("1 recordings: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(format=7), "a protocol of format 1"),
        (lambda v: v.update(trials={"nobody": [{}]}), "group 'nobody'"),
        (lambda v: v["trials"]["unseen"][0].pop("references"), "references"),
        (lambda v: v["trials"]["unseen"][0].update(references=[]), "references"),
        (lambda v: v["trials"]["unseen"][0].update(references=["anna_0", "bert_0"]), "several voices"),
        (lambda v: v.update(more=1), "more"),
    ],
)
def test_files_that_are_none(corpus: Manifest, stored: Path, change, words: str) -> None:
    values = json.loads(stored.read_text())
    change(values)
    stored.write_text(json.dumps(values))
    with pytest.raises(UserError, match=words) as error:
        load_protocol(stored, corpus)
    assert "\n" not in str(error.value)


def test_voices_that_a_table_lacks_are_refused_before_the_work(corpus: Manifest, stored: Path, tmp_path: Path) -> None:
    table = SimpleNamespace(description=Description(model="a", arguments={}, features={}, speakers=["emma", "finn"]))
    system = SimpleNamespace(loaded=table, model=SimpleNamespace(target="speaker"))
    with pytest.raises(UserError, match=r"mine speaks with .* 4 of the 6 .*\(anna, bert, cleo\)") as error:
        evaluate_systems({"mine": system}, corpus, Protocol(), tmp_path, stored=stored)  # type: ignore[dict-item]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_texts_that_are_none(corpus: Manifest, tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UserError, match="expected"):
        load_protocol(tmp_path / "p.json", corpus)
    with pytest.raises(UserError, match="expected"):
        load_protocol(tmp_path / "nothing.json", corpus)


def test_pairs_of_each_kind() -> None:
    manifest = made()
    trials = pick_trials(manifest, "unseen", speakers=None, pairs=2)
    kinds = [(t.source.gender, t.references[0].gender) for t in trials]
    assert sorted(kinds) == sorted(2 * [("F", "F"), ("F", "M"), ("M", "F"), ("M", "M")])
    assert trials == pick_trials(manifest, "unseen", speakers=None, pairs=2)
    assert trials != pick_trials(manifest, "unseen", speakers=None, pairs=2, seed=1)
    for trial in trials:
        check(trial)


def test_pairs_by_accent() -> None:
    manifest = made()
    accents = manifest.with_rows(
        replace(row, accent="Scottish" if row.speaker in ("u00", "u01") else "Welsh") for row in manifest
    )
    trials = pick_trials(accents, "unseen", speakers=None, pairs=1, by=("accent",))
    assert len({(t.source.accent, t.references[0].accent) for t in trials}) == len(trials) == 4


def test_parallel_pairs_have_true_targets() -> None:
    manifest = made()
    for trial in pick_trials(manifest, "unseen", parallel=True):
        assert trial.true_target is not None
    with pytest.raises(UserError, match="metrics.parallel=false"):
        pick_trials(made(known=False), "unseen", parallel=True)


def test_the_knn_vc_protocol() -> None:
    """The same utterances of every source go to every target, which lends all the clips that enrolment can spare."""
    protocol = Protocol(groups="unseen", voices=40, sentences_per_pair=3, same_sources=True, references="all")
    trials = trials_for(made(unseen=6), protocol, trained_on=SEEN)["unseen"]
    assert len(trials) == 6 * 5 * 3
    said = {}
    for trial in trials:
        check(trial)
        said.setdefault(trial.source.speaker, {}).setdefault(trial.target, set()).add(trial.source.id)
        assert len(trial.references) >= 7
        assert len(trial.references) + len(trial.enrol_target) == 11
    assert all(len(set(map(frozenset, targets.values()))) == 1 for targets in said.values())


def test_k_shot() -> None:
    for count in (1, 3, 5):
        trials = trials_for(made(), Protocol(references=count), trained_on=TrainingVoices())["unseen"]
        assert {len(trial.references) for trial in trials} == {count}
