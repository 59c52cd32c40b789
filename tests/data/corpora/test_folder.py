from pathlib import Path

import pytest
from data_helpers import touch

from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.folder import Folder
from revoice.errors import UserError


def test_speaker_subfolders(tmp_path: Path) -> None:
    touch(tmp_path / "alice" / "a.wav")
    touch(tmp_path / "alice" / "a.txt", "Hello, you")
    touch(tmp_path / "bob" / "day 1" / "take (1).MP3")
    touch(tmp_path / "bob" / ".hidden" / "x.wav")
    touch(tmp_path / "bob" / "notes.md")
    touch(tmp_path / "日本" / "声.flac")
    manifest = CORPORA.build("folder", {"root": tmp_path}).manifest()
    assert manifest.speakers == ["alice", "bob", "日本"]
    rows = {row.path: row for row in manifest}
    assert set(rows) == {"alice/a.wav", "bob/day 1/take (1).MP3", "日本/声.flac"}
    assert rows["alice/a.wav"].text == "Hello, you" and rows["alice/a.wav"].sentence
    assert all(row.id.isascii() and row.id.replace("-", "").replace("_", "").isalnum() for row in manifest)


def test_ids_stay_apart(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac", "b c.wav", "b-c.wav", "b_c.wav", "d/e.wav", "d-e.wav"):
        touch(tmp_path / "s" / name)
    assert len({row.id for row in Folder(tmp_path).manifest()}) == 7


def test_flat_folder_shows_the_layout(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    with pytest.raises(UserError, match=r"no speaker subfolders.*alice/1\.wav.*data\.root=") as caught:
        Folder(tmp_path).manifest()
    assert "\n" not in str(caught.value)


def test_csv(tmp_path: Path) -> None:
    other = touch(tmp_path / "elsewhere" / "z.wav")
    lines = [
        "Path,Speaker,text,gender,emotion,split,sentence",
        'a.wav,alice,"Well, ""hi""",female,happy,train,',
        "a.wav2,alice,,,,,7",
    ]
    touch(
        tmp_path / "c" / "clips.csv",
        "\ufeff" + "\n".join([*lines, f"{other},bob,,M,,test,", "b.wav,alice,,,,test,", ",,,,,,"]),
    )
    for root, csv in ((tmp_path / "c", "clips.csv"), (tmp_path / "c" / "clips.csv", None)):
        manifest = Folder(root, csv=csv).manifest()
        rows = {row.path: row for row in manifest}
        assert len(rows) == 4
        row = rows["a.wav"]
        assert (row.speaker, row.text, row.gender, row.emotion, row.split) == (
            "alice",
            'Well, "hi"',
            "F",
            "happy",
            "train",
        )
        assert rows["a.wav2"].sentence == "7" and rows["a.wav2"].split == ""
        assert manifest.file(rows[str(other)]) == other
        assert rows[str(other)].split == "test_unseen" and rows["b.wav"].split == "test_seen"


def test_tab_separated(tmp_path: Path) -> None:
    touch(tmp_path / "clips.tsv", "path\tspeaker\na, b.wav\tx\n")
    (row,) = Folder(tmp_path / "clips.tsv").manifest()
    assert row.path == "a, b.wav"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,speaker\na,b\n", "no column 'path'"),
        ("path,speaker\na.wav,\n", "line 2"),
        ("path,speaker,split\na.wav,x,trane\n", "did you mean 'train'"),
        ("", "header path,speaker"),
        ('path,speaker,text\na.wav,x,hi\n\nb.wav,x,"Hello there\nc.wav,x,bye\n', "from line 4 on .*a quote"),
        ('path,speaker,text\na.wav,x,"Hello there\nb.wav,x,"Bye"\n', "from line 2 on .*a quote"),
        ('path,speaker,"text\na.wav,x,hi\n', "from line 1 on .*a quote"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path / "clips.csv", text)
    with pytest.raises(UserError, match=message):
        Folder(tmp_path, csv="clips.csv").manifest()


def test_missing_csv_and_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clips.csv"):
        Folder(tmp_path, csv="clips.csv").manifest()
    with pytest.raises(UserError, match="one subfolder per speaker"):
        Folder(None).manifest()
    with pytest.raises(UserError, match="is a file"):
        Folder(touch(tmp_path / "a.wav")).manifest()


def test_a_speaker_is_unseen_only_if_all_lines_say_test(tmp_path: Path) -> None:
    splits = {"ann": ("", "", "test"), "bob": ("val", "test"), "eve": ("test", "test"), "mia": ("test_unseen", "test")}
    lines = [f"{name}{n}.wav,{name},{split}" for name, own in splits.items() for n, split in enumerate(own)]
    touch(tmp_path / "clips.csv", "\n".join(["path,speaker,split", *lines]))
    found = {row.path: row.split for row in Folder(tmp_path / "clips.csv").manifest()}
    assert found["ann0.wav"] == "" and found["ann2.wav"] == found["bob1.wav"] == "test_seen"
    assert {found["eve0.wav"], found["eve1.wav"], found["mia0.wav"], found["mia1.wav"]} == {"test_unseen"}


def test_recordings_beside_the_speakers_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("ann/a.wav", "b.wav", "c.flac", "speakers.csv", ".d.wav"):
        touch(tmp_path / name)
    with caplog.at_level("INFO", logger="revoice"):
        assert len(Folder(tmp_path).manifest()) == 1
    assert "left out: 2 files beside the speakers" in caplog.text


def test_linked_folders_are_read_once_and_lead_to_no_other_speaker(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for path in (root / "ann" / "z" / "1.wav", root / "bob" / "2.wav", tmp_path / "elsewhere" / "deep" / "3.wav"):
        touch(path)
    links = {"ann/up": "..", "ann/loop": ".", "ann/again": "z", "ann/day": "../../elsewhere", "eve": "../elsewhere"}
    for name, target in {**links, "ann/z/back": "../..", "ann/dead": "nowhere"}.items():
        (root / name).symlink_to(target)
    found = {row.path for row in Folder(root).manifest()}
    assert found == {"ann/z/1.wav", "ann/day/deep/3.wav", "bob/2.wav", "eve/deep/3.wav"}
