"""Tables and folders as people have them, and as strangers would make them."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revoice.audio.io import read_audio
from revoice.audio.presets import load_preset
from revoice.data.config import build
from revoice.data.corpora.base import read_text
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.speeds import Speeds
from revoice.data.files import content_hashes
from revoice.data.prepare.preparation import Preparation, prepare
from revoice.errors import UserError
from revoice.foreign import LONGEST_NAME, cell, file_name, write_csv
from tests.hostile import RATE, voice, write_ordinary

NAMES = (
    "a/../../../../elsewhere/x", "nul\0byte", "new\nline", "\x1b[2J\x1b]0;owned\x07", "n" * 300, "語" * 80,
    "sl/ash", "/etc/passwd", "..", ".", "...", "C:\\x", '=HYPERLINK("http://example")', "$\\frac{", "\u202egnp.wav",
    " ", "a\u0301" * 50, "-rf", "~", "%s%n", "<script>", "[bold]", "a" * 119 + "é", "😀" * 60,
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leaves_its_folder(name: str, tmp_path: Path) -> None:
    made = file_name(name)
    assert 0 < len(made.encode()) <= LONGEST_NAME and made == os.path.basename(made) and made.isprintable()
    assert not made.startswith((".", "-", " ")) and made != name
    (tmp_path / f"{made}.png").write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == [f"{made}.png"]


def test_names_stay_apart() -> None:
    names = [*NAMES, *(name + "x" for name in NAMES), *("語" * n for n in range(1, 80)), "a b", "a-b", "a/b", "a\\b"]
    assert len({file_name(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["p225", "my voice", "Zoë_1", "日本", "a.b-c", "x (2)", "नमस्ते"])
def test_ordinary_names_are_names_of_files(name: str) -> None:
    assert file_name(name) == name


@given(st.text(), st.text())
def test_any_text_is_a_name_of_its_own(one: str, other: str) -> None:
    made = file_name(one)
    assert re.fullmatch(r"[^/\0-\x1f]+", made) and len(made.encode()) <= LONGEST_NAME and made not in (".", "..")
    assert (made == file_name(other)) == (one == other)
    assert file_name(made) == made


@given(st.text(max_size=8), st.sampled_from(["=", "+", "-", "@", "\t", "\r", "＝"]))
def test_no_text_is_computed_by_a_spreadsheet(text: str, mark: str) -> None:
    made = cell(mark + text)
    assert made[0] == "'" or float(made) is not None


def test_a_table_gives_names_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["speaker", "value"], *([name, -1.5] for name in NAMES)])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0].removeprefix("'") for row in rows] == list(NAMES) and {row[1] for row in rows} == {"-1.5"}
    assert not any(row[0].startswith(("=", "+", "-", "@")) for row in rows)


def table(root: Path, speakers: list[str], name: str = "table.csv", mark: str = ",") -> Path:
    """A CSV with two clips of each speaker, one to train on and one to validate with."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / name).open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, delimiter=mark)
        lines.writerow(["path", "speaker", "split"])
        for number, speaker in enumerate(speakers):
            for clip, split in ((0, "train"), (1, "val")):
                soundfile.write(root / f"{number}-{clip}.wav", voice(0.6, f0=100 + 5 * number + clip), RATE)
                lines.writerow([f"{number}-{clip}.wav", speaker, split])
    return root / name


def test_speakers_of_any_name_are_prepared_and_told_by_it(tmp_path: Path) -> None:
    speakers = [name for name in NAMES if name.strip()]
    manifest = Folder(table(tmp_path / "in", speakers)).manifest()
    assert set(manifest.speakers) == {name.strip() for name in speakers} and len(manifest) == 2 * len(speakers)
    prepared = prepare(
        Folder(tmp_path / "in" / "table.csv"), load_preset("mel_22k"), ["features"], tmp_path / "out",
        how=Preparation(workers=0), progress=False,
    )  # fmt: skip
    assert len(prepared.manifest) + len(prepared.rejected) == 2 * len(speakers)
    lines = prepared.manifest_file.read_text(encoding="utf-8").split("\n")[1:-1]
    assert {json.loads(line)["speaker"] for line in lines} == set(manifest.speakers)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_a_speaker_without_end_is_rejected(tmp_path: Path) -> None:
    manifest = Folder(table(tmp_path, ["ann", "b" * 20_000])).manifest()
    assert {row.problem is None for row in manifest if row.speaker == "ann"} == {True}
    assert [row.problem for row in manifest if row.speaker != "ann"] == [f"{'b' * 37}... is no speaker"] * 2


def test_copies_at_other_speeds_stay_in_their_folder(tmp_path: Path) -> None:
    source = table(tmp_path / "in", ["a/../../../../elsewhere/x", "n" * 300])
    splits = {"unseen_speakers": 0, "test_sentences": 0, "val": 0}
    copies = Speeds(tmp_path / "copies", of={"name": "folder", "root": str(source), "splits": splits}, speeds=[1.2])
    manifest = copies.manifest()
    assert len(manifest) == 2 and "a/../../../../elsewhere/x-x120" in manifest.speakers
    assert all(manifest.file(row).resolve().is_relative_to(tmp_path / "copies") for row in manifest)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "copies"}


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_with_any_mark_between_the_columns(mark: str, tmp_path: Path) -> None:
    assert Folder(table(tmp_path, ["ann", "bob"], mark=mark)).manifest().speakers == ["ann", "bob"]


@pytest.mark.parametrize("first", ["file|who", "path speaker", "Pfad;Sprecher", "\x1b[2J", "path:speaker"])
def test_a_header_that_does_not_fit_is_shown(first: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"{first}\na.wav|ann\n")
    with pytest.raises(UserError) as error:
        Folder(tmp_path / "table.csv").manifest()
    assert str(error.value).isprintable() and "no column 'path'" in str(error.value)
    assert first.isprintable() <= (first in str(error.value))


def test_paths_of_windows_are_found(tmp_path: Path) -> None:
    write_ordinary(tmp_path, speakers=1, clips=2)
    odd = "s0\\clip1.wav" + ".wav"
    (tmp_path / odd).write_bytes((tmp_path / "s0" / "clip1.wav").read_bytes())  # called so
    (tmp_path / "table.csv").write_text(f"path,speaker\ns0\\clip0.wav,ann\n{odd},ann\nnowhere\\a.wav,ann\n")
    manifest = Folder(tmp_path / "table.csv").manifest()
    assert {row.path for row in manifest} == {"s0/clip0.wav", odd, "nowhere\\a.wav"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ["/proc/kmsg", "/dev/zero", "/dev/stdin", "/proc/self/mem", "pipe.wav"])
def test_what_is_no_file_is_not_waited_for(path: str, tmp_path: Path) -> None:
    where = table(tmp_path / "in", ["ann"])
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    with where.open("a") as file:
        file.write(f"{path},ann,train\n")
    os.symlink("/proc/kmsg", tmp_path / "in" / "0-0.txt")
    assert read_text(tmp_path / "in" / "0-0.txt") is None
    prepared = prepare(
        Folder(where),
        load_preset("mel_22k"),
        ["features"],
        tmp_path / "out",
        how=Preparation(workers=0),
        progress=False,
    )
    assert len(prepared.manifest) == 2 and [Path(r.path).name for r in prepared.rejected] == [Path(path).name]


def test_hashes_are_those_of_the_content(tmp_path: Path) -> None:
    import hashlib

    manifest = Folder(table(tmp_path, ["ann"])).manifest()
    (tmp_path / "0-1.wav").write_bytes(b"")
    found = content_hashes(manifest, tmp_path / "hashes.jsonl")
    expected = {row.id: hashlib.sha256(manifest.file(row).read_bytes()).hexdigest() for row in manifest}
    assert found == expected


def test_files_that_are_no_recordings_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ordinary(tmp_path / "in", speakers=1, clips=2)
    for name in ("a.xyz", "b.xyz", "c", "d.txt", ".hidden.xyz"):
        (tmp_path / "in" / "s0" / name).write_bytes(b"x")
    with caplog.at_level("INFO", logger="revoice"):
        assert len(Folder(tmp_path / "in").manifest()) == 2
    assert "left out: 2 files .xyz, 1 file without a suffix" in caplog.text
    for path in (tmp_path / "in" / "s0").glob("*.wav"):
        path.unlink()
    with pytest.raises(UserError, match=r"nothing of that layout, but 2 files \.xyz"):
        Folder(tmp_path / "in").manifest()


def test_a_recording_that_cannot_be_read_is_rejected_by_name(tmp_path: Path) -> None:
    write_ordinary(tmp_path / "in", speakers=1, clips=2)
    (tmp_path / "in" / "s1").mkdir()
    (tmp_path / "in" / "s1" / "phone.m4a").write_bytes(b"no recording")
    prepared = prepare(
        Folder(tmp_path / "in"), load_preset("mel_22k"), ["features"], tmp_path / "out",
        how=Preparation(workers=0), progress=False,
    )  # fmt: skip
    assert [one.path for one in prepared.rejected] == ["s1/phone.m4a"] and len(prepared.manifest) == 2


def test_a_phone_recording_is_prepared(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "in" / "ann").mkdir(parents=True)
    phone = shared / "cases" / "m4a_unmentioned" / "phone.m4a"
    (tmp_path / "in" / "ann" / "1.M4A").write_bytes(phone.read_bytes())
    prepared = prepare(
        Folder(tmp_path / "in"), load_preset("mel_22k"), ["features"], tmp_path / "out",
        how=Preparation(workers=0), progress=False,
    )  # fmt: skip
    assert [row.seconds for row in prepared.manifest] == [read_audio(phone).seconds]


def test_a_stream_needs_no_folder_of_recordings() -> None:
    streamed = {"name": "folder", "root": None, "stream": True, "streaming": {"address": "/nowhere"}}
    for name in ("folder", "vctk", "librispeech", "libritts"):
        assert not build({**streamed, "name": name}).at_hand
        for lacking in ({"stream": False, "streaming": {}}, {"streaming": {}}):
            with pytest.raises(UserError, match="no folder is given"):
                build({**streamed, "name": name, **lacking})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200) | st.binary(max_size=200), st.sampled_from(["", "path,speaker\n", "path;speaker\n"]))
def test_any_table_is_read_or_refused_in_one_line(tmp_path: Path, text: str | bytes, head: str) -> None:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    (tmp_path / "t.csv").write_bytes(head.encode() + data)
    try:
        manifest = Folder(tmp_path / "t.csv").manifest()
    except UserError as error:
        assert "\n" not in str(error).replace(str(tmp_path), "")
    else:
        assert len(manifest) == len({row.id for row in manifest})
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,100}", row.id) for row in manifest)
        assert np.isfinite(len(content_hashes(manifest, tmp_path / "hashes.jsonl")))
