"""Layouts that say emotions or genders, as their publishers lay them out."""

from pathlib import Path

import pytest
from data_helpers import touch

from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.labeled.emotional import EMOTIONS, Emotional
from revoice.data.corpora.manifest import Row
from revoice.errors import UserError

NAMES = [name for name in CORPORA.names() if issubclass(CORPORA.get(name), Emotional)]


def read(name: str, root: Path, **settings: object) -> dict[str, Row]:
    manifest = CORPORA.build(name, {"root": root, **settings}).manifest()
    assert all(manifest.file(row).is_file() for row in manifest)
    return {row.id: row for row in manifest}


@pytest.mark.parametrize("name", NAMES)
def test_every_emotion_has_its_one_word(name: str) -> None:
    kind = CORPORA.get(name)
    assert set(kind.words.values()) <= set(EMOTIONS) and {"neutral", "happy", "sad", "angry"} <= set(
        kind.words.values()
    )


@pytest.mark.parametrize("name", [*NAMES, "common_voice"])
def test_a_wrong_root_is_told_with_the_layout(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected .*; (get|ask)"):
        read(name, tmp_path)
    touch(tmp_path / "a" / "b.txt", "something else")
    with pytest.raises(UserError, match="expected .*; (get|ask)"):
        read(name, tmp_path)


def test_an_unknown_emotion_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="joyful"):
        CORPORA.build("esd", {"root": tmp_path, "emotions": ["joyful"]})


@pytest.mark.parametrize("above", ["", "Emotion Speech Dataset"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_esd(tmp_path: Path, above: str, encoding: str) -> None:
    folder = tmp_path / above if above else tmp_path
    touch(folder / "0011" / "Neutral" / "train" / "0011_000021.wav")
    touch(folder / "0011" / "Angry" / "test" / "0011_000371.wav")
    touch(folder / "0011" / "Surprise" / "0011_001421.wav")
    touch(folder / "0001" / "Happy" / "0001_000721.wav")
    text = "0011_000021\tThe nine the eggs, I keep.\tNeutral\n0011_000371\tThe nine the eggs, I keep.\tAngry\n"
    (folder / "0011" / "0011.txt").write_bytes(text.encode(encoding))
    rows = read("esd", tmp_path, own_splits=True)
    assert set(rows) == {"0011_000021", "0011_000371", "0011_001421"}
    calm, angry = rows["0011_000021"], rows["0011_000371"]
    assert (calm.emotion, angry.emotion, rows["0011_001421"].emotion) == ("neutral", "angry", "surprised")
    assert calm.sentence == angry.sentence == rows["0011_001421"].sentence == "en-021"
    assert calm.text == "The nine the eggs, I keep." and (calm.split, angry.split) == ("train", "test_seen")
    assert set(read("esd", tmp_path, emotions="angry")) == {"0011_000371"}
    both = read("esd", tmp_path, language="both")
    assert both["0001_000721"].sentence == "zh-021" and both["0001_000721"].gender == "F" and not calm.problem


def test_ravdess(tmp_path: Path) -> None:
    touch(tmp_path / "Actor_01" / "03-01-05-01-02-01-01.wav")
    touch(tmp_path / "Actor_02" / "03-01-03-02-02-02-02.wav")
    touch(tmp_path / "Actor_02" / "03-02-03-02-01-02-02.wav")
    touch(tmp_path / "Actor_02" / "notes.wav")
    rows = read("ravdess", tmp_path)
    assert set(rows) == {"03-01-05-01-02-01-01", "03-01-03-02-02-02-02"}
    angry, happy = rows["03-01-05-01-02-01-01"], rows["03-01-03-02-02-02-02"]
    assert (angry.emotion, angry.gender, angry.speaker) == ("angry", "M", "actor01")
    assert (happy.emotion, happy.gender, happy.text) == ("happy", "F", "Dogs are sitting by the door")
    assert angry.sentence == happy.sentence and len(read("ravdess", tmp_path, song=True)) == 3


def test_crema_d(tmp_path: Path) -> None:
    touch(tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav")
    touch(tmp_path / "AudioWAV" / "1002_IEO_HAP_HI.wav")
    touch(tmp_path / "VideoDemographics.csv", '"ActorID","Age","Sex","Race"\n1001,51,"Male","x"\n1002,21,Female,y\n')
    rows = read("crema_d", tmp_path)
    angry, happy = rows["1001_DFA_ANG_XX"], rows["1002_IEO_HAP_HI"]
    assert (angry.emotion, angry.gender, angry.text) == ("angry", "M", "Don't forget a jacket")
    assert (happy.emotion, happy.gender, happy.speaker) == ("happy", "F", "1002")


def test_emodb(tmp_path: Path) -> None:
    for name in ("03a01Fa", "08a01Wb", "16b10Td"):
        touch(tmp_path / "wav" / f"{name}.wav")
    rows = read("emodb", tmp_path)
    assert [rows[name].emotion for name in ("03a01Fa", "08a01Wb", "16b10Td")] == ["happy", "angry", "sad"]
    assert [rows[name].gender for name in ("03a01Fa", "08a01Wb")] == ["M", "F"]
    assert rows["03a01Fa"].sentence == rows["08a01Wb"].sentence == "a01"


def test_iemocap(tmp_path: Path) -> None:
    for session, dialog, turns in (
        ("Session1", "Ses01F_impro01", ("F000", "M003")), ("Session5", "Ses05M_script01_1", ("F001", "MX01", "M009")),
    ):  # fmt: skip
        about = tmp_path / session / "dialog"
        for turn in turns:
            touch(tmp_path / session / "sentences" / "wav" / dialog / f"{dialog}_{turn}.wav")
        lines = "\n".join(
            f"[6.2901 - 8.2357]\t{dialog}_{turn}\tneu\t[2.5, 2.5, 2.5]\nC-E2:\tNeutral;\t()" for turn in turns[:2]
        )
        touch(
            about / "EmoEvaluation" / f"{dialog}.txt",
            f"% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n{lines}\n",
        )
        touch(about / "transcriptions" / f"{dialog}.txt", f"{dialog}_{turns[0]} [006.2901-008.2357]: Excuse me.\n")
    rows = read("iemocap", tmp_path, own_splits=True)
    assert set(rows) == {
        "Ses01F_impro01_F000", "Ses01F_impro01_M003", "Ses05M_script01_1_F001", "Ses05M_script01_1_MX01"
    }  # fmt: skip
    first, last = rows["Ses01F_impro01_M003"], rows["Ses05M_script01_1_F001"]
    assert (first.speaker, first.gender, first.emotion, first.split) == ("Ses01M", "M", "neutral", "train")
    assert (last.speaker, last.text, last.split) == ("Ses05F", "Excuse me.", "test_unseen")


def test_common_voice(tmp_path: Path) -> None:
    lines = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\tlocale\tsegment"]
    for client, name, gender, segment in (
        ("a" * 128, "one.mp3", "female", ""), ("a" * 128, "two.mp3", "female", ""), ("b" * 128, "three", "male", ""),
        ("c" * 128, "four.mp3", "male_masculine", ""), ("d" * 128, "five.mp3", "", ""),
        ("e" * 128, "six.mp3", "male", "Singleword Benchmark"),
    ):  # fmt: skip
        lines.append(f'{client}\t{name}\tHe said "no.\t2\t0\t\t{gender}\t\ten\t{segment}')
        touch(tmp_path / "clips" / (name if name.endswith("mp3") else f"{name}.mp3"))
    touch(tmp_path / "validated.tsv", "\n".join(lines) + "\n")
    rows = read("common_voice", tmp_path)
    assert {name: row.gender for name, row in rows.items()} == {
        "one": "F", "two": "F", "three": "M", "four": "M", "five": None
    }  # fmt: skip
    assert rows["one"].speaker == "a" * 16 and rows["one"].text == 'He said "no.'
    few = read("common_voice", tmp_path, per_speaker=1, labeled=True, balanced=True)
    assert set(few) == {"one", "three"}
    with pytest.raises(UserError, match=r"no .*train\.tsv"):
        read("common_voice", tmp_path, table="train")
    touch(tmp_path / "train.tsv", "a\tb\n")
    with pytest.raises(UserError, match="no column 'client_id'"):
        read("common_voice", tmp_path, table="train")
