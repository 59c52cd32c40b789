from pathlib import Path
from typing import Any

import numpy as np
import pytest

from revoice.audio.io import read_audio
from revoice.data.config import build
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.speeds import Speeds
from revoice.data.corpora.splits import Splits
from revoice.data.setup import MixtureSetup
from revoice.errors import UserError
from tests.data.data_helpers import speakers_folder

EVERYTHING = {"unseen_speakers": 0, "test_sentences": 0, "val": 0}


def of(root: Path, **splits: Any) -> dict[str, Any]:
    return {"name": "folder", "root": str(root), "splits": {**EVERYTHING, **splits}}


def test_what_is_held_out_is_not_copied(tmp_path: Path) -> None:
    source = speakers_folder(tmp_path / "voices", speakers=3, clips=4)
    splits = {"unseen_speakers": ["s1"], "test_sentences": 1, "val": 0.4}
    held = Splits(**splits).assign(Folder(source).manifest())
    taught = {row.id for row in held.select("train")}
    assert {row.split for row in held} == {"train", "val", "test_seen", "test_unseen"}
    manifest = Speeds(tmp_path / "copies", of(source, **splits), speeds=[1.2]).manifest()
    assert {row.id for row in manifest} == {f"{id}-x120" for id in taught}
    assert len(list((tmp_path / "copies").rglob("*.flac"))) == len(taught)


def test_later_recordings_are_copied_too(tmp_path: Path) -> None:
    source = speakers_folder(tmp_path / "voices", speakers=1, clips=1)
    first = Speeds(tmp_path / "copies", of(source), speeds=[1.2]).manifest()
    before = first.file(first.rows[0]).stat().st_mtime_ns
    speakers_folder(source, speakers=2, clips=1)
    manifest = Speeds(tmp_path / "copies", of(source), speeds=[1.2]).manifest()
    assert manifest.speakers == ["s0-x120", "s1-x120"]
    assert first.file(first.rows[0]).stat().st_mtime_ns == before


def test_the_splits_of_a_mixture_hold_for_what_is_copied(tmp_path: Path) -> None:
    source = speakers_folder(tmp_path / "voices", speakers=2, clips=3)
    parts = {
        "real": {"name": "folder", "root": str(source)},
        "copies": {"name": "speeds", "root": str(tmp_path / "copies"), "corpus": {"of": of(source)}},
    }
    setup = build({"name": "mixture", "parts": parts, "splits": {"val": 0.5, "test_sentences": 0}})
    assert isinstance(setup, MixtureSetup)
    copies = setup.parts["copies"].corpus
    assert isinstance(copies, Speeds) and copies.splits.val == 0.5


def test_every_speed_is_a_voice_of_its_own(tmp_path: Path) -> None:
    speakers_folder(tmp_path / "voices", speakers=2, clips=2)
    corpus = Speeds(tmp_path / "copies", of(tmp_path / "voices"), speeds=[0.8, 1.25], leave_out=["s1"])
    manifest = corpus.manifest()
    assert manifest.speakers == ["s0-x080", "s0-x125"] and len(manifest) == 4
    assert {row.text for row in manifest} == {"words of sentence 0", "words of sentence 1"}
    original = read_audio(tmp_path / "voices" / "s0" / "clip0.wav")
    for row in manifest:
        if "clip0" in row.id:
            copy = read_audio(manifest.file(row))
            factor = 0.8 if row.speaker.endswith("080") else 1.25
            assert copy.seconds == pytest.approx(original.seconds / factor, abs=1e-3)
            peak = np.argmax(np.abs(np.fft.rfft(copy.samples))) * copy.sample_rate / len(copy.samples)
            assert peak == pytest.approx(100 * factor, rel=0.05)


def test_copies_are_made_once(tmp_path: Path) -> None:
    speakers_folder(tmp_path / "voices", speakers=1, clips=1)
    first = Speeds(tmp_path / "copies", of(tmp_path / "voices"))
    file = first.manifest().file(first.manifest().rows[0])
    before = file.stat().st_mtime_ns
    again = Speeds(tmp_path / "copies", of(tmp_path / "voices"))
    assert again.root == first.root and again.manifest().digest() == first.manifest().digest()
    assert file.stat().st_mtime_ns == before
    assert Speeds(tmp_path / "copies", of(tmp_path / "voices"), speeds=[1.1]).root != first.root


def test_what_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="of which corpus"):
        Speeds(tmp_path)
    with pytest.raises(UserError, match="of.splits is missing"):
        Speeds(tmp_path, {"name": "folder", "root": str(tmp_path)})
    with pytest.raises(UserError, match="0.875 and 0.88 are too near, both are called x088"):
        Speeds(tmp_path, of(tmp_path), speeds=[0.875, 0.88])
    for speed in (1, 0, 3, "fast"):
        with pytest.raises(UserError, match="a number from 0.5 to 2"):
            Speeds(tmp_path, of(tmp_path), speeds=[speed])
    with pytest.raises(UserError, match="nowhere"):
        Speeds(tmp_path, of(tmp_path / "nowhere")).manifest()
