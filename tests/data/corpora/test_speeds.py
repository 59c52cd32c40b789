from pathlib import Path

import numpy as np
import pytest

from revoice.audio.io import read_audio
from revoice.data.corpora.speeds import Speeds
from revoice.errors import UserError
from tests.data.data_helpers import speakers_folder


def of(root: Path) -> dict[str, str]:
    return {"name": "folder", "root": str(root)}


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
    for speed in (1, 0, 3, "fast"):
        with pytest.raises(UserError, match="a number from 0.5 to 2"):
            Speeds(tmp_path, of(tmp_path), speeds=[speed])
    with pytest.raises(UserError, match="nowhere"):
        Speeds(tmp_path, of(tmp_path / "nowhere")).manifest()
