"""LJSpeech's layout, and what is not quite it."""

from pathlib import Path

import pytest
from data_helpers import touch

from revoice.data.corpora.base import CORPORA
from revoice.errors import UserError


def release(root: Path) -> Path:
    folder = root / "LJSpeech-1.1"
    lines = ['LJ001-0001|He said "no" in 1842|He said "no" in eighteen forty-two', "LJ001-0002|As written|", "odd", ""]
    touch(folder / "metadata.csv", "\n".join(lines))
    for number in (1, 2, 3):
        touch(folder / "wavs" / f"LJ001-{number:04d}.wav", "x")
    touch(folder / "wavs" / "._LJ001-0001.wav", "x")
    return root


@pytest.mark.parametrize("inside", ["", "LJSpeech-1.1"])
def test_the_release(inside: str, tmp_path: Path) -> None:
    manifest = CORPORA.build("ljspeech", {"root": release(tmp_path) / inside}).manifest()
    rows = {row.id: row for row in manifest}
    assert sorted(rows) == ["LJ001-0001", "LJ001-0002", "LJ001-0003"] and manifest.speakers == ["LJ"]
    first = rows["LJ001-0001"]
    assert (first.path, first.gender) == ("wavs/LJ001-0001.wav", "F")
    assert first.text == 'He said "no" in eighteen forty-two'  # as spoken
    assert rows["LJ001-0002"].text == "As written" and rows["LJ001-0003"].text is None
    assert manifest.file(first).is_file()


def test_without_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="LJSpeech: .*expected LJSpeech-1.1/wavs.*data.root=FOLDER"):
        CORPORA.build("ljspeech", {"root": tmp_path}).manifest()
