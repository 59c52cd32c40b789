from collections import Counter
from pathlib import Path

import pytest
from data_helpers import touch

from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.librispeech import LibriSpeech, LibriTTS
from revoice.errors import UserError

SPEAKERS = """;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | train-clean-100  | 25.03 | Kristin LeMoine
26   | M | test-other | 8 | X
"""


def librispeech(root: Path) -> Path:
    touch(root / "SPEAKERS.TXT", SPEAKERS)
    touch(root / "train-clean-100" / "14" / "208" / "14-208-0000.flac")
    touch(root / "test-other" / "26" / "495" / "26-495-0000.flac")
    touch(root / "test-other" / "26" / "495" / "26-495-0001.flac")
    touch(root / "test-other" / "26" / "495" / "26-495.trans.txt", "26-495-0000 HELLO THERE\n26-495-0001 IT'S ME\n")
    return root


@pytest.mark.parametrize("above", [False, True])
def test_librispeech(tmp_path: Path, above: bool) -> None:
    librispeech(tmp_path / "LibriSpeech")
    manifest = CORPORA.build("librispeech", {"root": tmp_path if above else tmp_path / "LibriSpeech"}).manifest()
    rows = {row.id: row for row in manifest}
    assert set(rows) == {"14-208-0000", "26-495-0000", "26-495-0001"}
    assert (rows["14-208-0000"].speaker, rows["14-208-0000"].gender, rows["14-208-0000"].text) == ("14", "F", None)
    assert (rows["26-495-0001"].gender, rows["26-495-0001"].text) == ("M", "IT'S ME")
    assert all(manifest.file(row).is_file() for row in manifest)


def test_subsets(tmp_path: Path) -> None:
    librispeech(tmp_path)
    assert len(LibriSpeech(tmp_path, subsets=["test-other"]).manifest()) == 2
    assert len(LibriSpeech(tmp_path, subsets="train-clean-100").manifest()) == 1
    with pytest.raises(UserError, match=r"dev-clean.*valid: test-other, train-clean-100"):
        LibriSpeech(tmp_path, subsets=["dev-clean"]).manifest()


@pytest.mark.parametrize(("name", "where"), [("librispeech", "OpenSLR 12"), ("libritts", "OpenSLR 60")])
def test_wrong_root(tmp_path: Path, name: str, where: str) -> None:
    with pytest.raises(UserError, match=where):
        CORPORA.build(name, {"root": tmp_path / "nothing"}).manifest()


def test_libritts(tmp_path: Path) -> None:
    chapter = tmp_path / "dev-clean" / "84" / "121123"
    touch(tmp_path / "speakers.tsv", "READER\tGENDER\tSUBSET\tNAME\n84\tF\tdev-clean\tX Y\n")
    touch(chapter / "84_121123_000007_000001.wav")
    touch(chapter / "84_121123_000007_000001.normalized.txt", "Maximilian.")
    touch(chapter / "84_121123_000007_000001.original.txt", "MAXIMILIAN")
    (row,) = LibriTTS(tmp_path).manifest()
    assert (row.id, row.speaker, row.gender, row.text) == ("84_121123_000007_000001", "84", "F", "Maximilian.")
    touch(chapter / "84_121123.trans.tsv", "x")
    (tmp_path / "speakers.tsv").unlink()
    touch(tmp_path / "SPEAKERS.txt", "84 | M | dev-clean | 8 | X")
    (row,) = LibriTTS(tmp_path).manifest()
    assert row.gender == "M"


def test_real_recordings(shared: Path) -> None:
    manifest = LibriSpeech(shared / "data" / "librispeech_mini").manifest()
    assert Counter(row.path.split("/")[0] for row in manifest) == {"train-clean-100": 227, "test-other": 60}
    genders = {row.speaker: row.gender for row in manifest}
    assert {name: genders[name] for name in ("1688", "2033", "2414", "1998", "3331", "533")} == dict(
        zip(("1688", "2033", "2414", "1998", "3331", "533"), "MMMFFF", strict=True)
    )
    assert None not in genders.values() and len(genders) == 233
    assert sum(row.text is not None for row in manifest) == 60
    assert len(LibriSpeech(shared / "data" / "librispeech_mini", ["test-other"]).manifest()) == 60
