import csv
import logging
from collections import Counter
from pathlib import Path

import pytest
from data_helpers import touch

from revoice.data.corpora.base import CORPORA
from revoice.data.corpora.manifest import Manifest
from revoice.data.corpora.splits import Splits
from revoice.data.corpora.vctk import VCTK
from revoice.errors import UserError

WORDS = {1: "Please call Stella.", 9: "There is , according to legend, a pot."}


def release_080(root: Path) -> Path:
    touch(
        root / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION  \n225  23  F    English    Southern  England\n226  22  M    English\n",
    )
    for speaker in ("p225", "p226", "p315"):
        for number in (1, 9, 30):
            touch(root / "wav48" / speaker / f"{speaker}_{number:03d}.wav", "x")
            if speaker != "p315":
                text = WORDS.get(number, f"Only {speaker} says this")
                touch(root / "txt" / speaker / f"{speaker}_{number:03d}.txt", text + "\n")
    touch(root / "wav48" / "p376" / "p376_295.raw", "x")  # the release has one such file
    touch(root / "wav48" / "p225" / "._p225_001.wav", "x")
    return root


def release_092(root: Path) -> Path:
    lines = [
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS",
        "p225  23  F    English    Southern  England",
        "p280  25  F    French  France (mic2 files unavailable)",
    ]
    touch(root / "speaker-info.txt", "\n".join([*lines, "s5  22  M  British  (?)", ""]))
    for speaker in ("p225", "p280", "s5"):
        for mic in ("mic1", "mic2") if speaker != "p280" else ("mic1",):
            touch(root / "wav48_silence_trimmed" / speaker / f"{speaker}_001_{mic}.flac", "x")
        touch(root / "txt" / speaker / f"{speaker}_001.txt", WORDS[1])
    touch(root / "wav48_silence_trimmed" / "log.txt", "x")
    return root


def by_id(manifest: Manifest) -> dict:
    return {row.id: row for row in manifest}


def test_release_080(tmp_path: Path) -> None:
    manifest = CORPORA.build("vctk", {"root": release_080(tmp_path / "VCTK-Corpus")}).manifest()
    rows = by_id(manifest)
    assert len(rows) == 9 and manifest.speakers == ["p225", "p226", "p315"]
    row = rows["p225_001"]
    assert (row.path, row.gender, row.accent, row.text) == ("wav48/p225/p225_001.wav", "F", "English", WORDS[1])
    assert rows["p226_030"].gender == "M" and rows["p315_001"].gender is None
    assert manifest.file(row).is_file()


def test_equal_sentence_ids_mean_equal_words(tmp_path: Path) -> None:
    rows = by_id(VCTK(release_080(tmp_path)).manifest())
    assert rows["p225_001"].sentence == rows["p226_001"].sentence != rows["p225_009"].sentence
    assert rows["p225_030"].sentence != rows["p226_030"].sentence  # same number, other words
    assert rows["p315_009"].sentence == rows["p225_009"].sentence  # no text: known from the number up to 024
    assert rows["p315_030"].sentence is None


def test_numbers_name_the_rainbow_sentences_when_no_speaker_has_text(tmp_path: Path) -> None:
    for speaker in ("p315", "p999"):
        touch(tmp_path / "wav48" / speaker / f"{speaker}_024.wav")
    first, second = VCTK(tmp_path).manifest()
    assert first.sentence == second.sentence is not None


@pytest.mark.parametrize(("mic", "expected"), [("mic1", 3), ("mic2", 3), ("both", 5)])
def test_release_092_microphones(tmp_path: Path, mic: str, expected: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rows = by_id(VCTK(release_092(tmp_path), mic=mic).manifest())
    assert len(rows) == expected
    assert {row.gender for row in rows.values() if row.speaker == "s5"} == {"M"}
    if mic == "both":
        assert {"p225_001_mic1", "p225_001_mic2", "p280_001_mic1"} <= set(rows)
        assert rows["p225_001_mic1"].sentence == rows["p225_001_mic2"].sentence
    else:
        assert rows["p225_001"].path.endswith(f"_{mic}.flac")
        assert rows["p280_001"].path.endswith("_mic1.flac")
    assert ("p280 has no mic2" in caplog.text) == (mic == "mic2")


def silent_092(root: Path) -> Path:
    """Two speakers of whom one has no text, as p315, by two microphones."""
    for speaker in ("p225", "p315"):
        for number in (1, *range(30, 60)):
            for mic in ("mic1", "mic2"):
                touch(root / "wav48_silence_trimmed" / speaker / f"{speaker}_{number:03d}_{mic}.flac", "x")
            if speaker == "p225":
                touch(root / "txt" / speaker / f"{speaker}_{number:03d}.txt", f"The words of {number}")
    return root


@pytest.mark.parametrize("seed", range(3))
def test_two_microphones_of_a_take_are_in_one_split_and_say_one_sentence(tmp_path: Path, seed: int) -> None:
    splits = Splits(seed=seed, unseen_speakers=0, test_sentences=0.3, val=0.3)
    both = by_id(splits.assign(VCTK(silent_092(tmp_path), mic="both").manifest()))
    assert len(both) == 2 * 2 * 31
    for name, row in both.items():
        other = both[name.replace("mic1", "mic2")]
        assert row.sentence == other.sentence is not None and row.split == other.split
    assert len({row.sentence for row in both.values() if row.speaker == "p315"}) == 31
    assert {row.split for row in both.values() if row.speaker == "p315"} == {"train", "val", "test_seen"}
    assert both["p315_001_mic1"].sentence == both["p225_001_mic1"].sentence, "the rainbow passage"


def test_one_microphone_is_split_as_ever(tmp_path: Path) -> None:
    manifest = VCTK(silent_092(tmp_path)).manifest()
    assert manifest.digest() == "6ecc8b036b8b9e5d"
    assert Splits(unseen_speakers=0, test_sentences=0.3).assign(manifest).digest() == "39f70a6216926d67"


def test_the_release_may_lie_inside_the_root(tmp_path: Path) -> None:
    release_092(tmp_path / "VCTK-Corpus-0.92")
    manifest = VCTK(tmp_path).manifest()
    assert len(manifest) == 3 and all(manifest.file(row).is_file() for row in manifest)


def test_an_utterance_in_two_folders_is_taken_once_from_the_higher_rate(tmp_path: Path) -> None:
    touch(tmp_path / "wav16" / "p225" / "p225_001.wav")
    touch(tmp_path / "wav48" / "p225" / "p225_001.wav")
    touch(tmp_path / "wav16" / "p225" / "p225_002.wav")
    assert [row.path for row in VCTK(tmp_path).manifest()] == ["wav48/p225/p225_001.wav", "wav16/p225/p225_002.wav"]


@pytest.mark.parametrize("kind", ["missing", "empty", "other", "none"])
def test_a_wrong_root_says_where_to_get_the_corpus(tmp_path: Path, kind: str) -> None:
    root = tmp_path / kind
    if kind in ("empty", "other"):
        root.mkdir()
    if kind == "other":
        touch(root / "a.txt")
    with pytest.raises(UserError) as caught:
        CORPORA.build("vctk", {"root": None if kind == "none" else str(root)}).manifest()
    message = str(caught.value)
    assert "\n" not in message and "Edinburgh DataShare" in message and "data.root=" in message
    assert "wav48_silence_trimmed/p225/p225_001_mic1.flac" in message
    assert kind == "none" or str(root) in message


def test_unknown_microphone_and_unknown_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mic1"):
        VCTK(tmp_path, mic="mic3")
    with pytest.raises(UserError, match="did you mean 'mic'"):
        CORPORA.build("vctk", {"root": tmp_path, "mik": "mic1"})


def test_real_recordings(shared: Path) -> None:
    manifest = VCTK(shared / "data" / "vctk_mini").manifest()
    assert len(manifest) == 149 and len(manifest.speakers) == 42
    assert Counter(row.path.split("/")[0] for row in manifest) == {"wav16": 83, "wav48": 41, "flac48": 24, "wav22": 1}
    genders = {row.speaker: row.gender for row in manifest}
    assert {genders["p225"], genders["p228"]} == {"F"} and {genders["p226"], genders["p227"]} == {"M"}
    assert None not in genders.values()


def test_real_parallel_sentences(shared: Path) -> None:
    manifest = VCTK(shared / "data" / "vctk_mini").manifest()
    sentence = {row.path: row.sentence for row in manifest}
    with (shared / "data" / "PARALLEL.tsv").open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file, delimiter="\t") if line["dataset"] == "VCTK"]
    groups = [{sentence[path.removeprefix("vctk_mini/")] for path in line["files"].split(",")} for line in lines]
    assert groups and all(len(group) == 1 for group in groups)  # said together: one id
    ids = [group.pop() for group in groups]
    assert len(set(ids)) == len(ids)  # different sentences: different ids
    shared_by = Counter()
    for row in {(row.speaker, row.sentence) for row in manifest if row.speaker != "p315"}:
        shared_by[row[1]] += 1
    assert {name for name, count in shared_by.items() if count > 1} == set(ids)  # and no others
