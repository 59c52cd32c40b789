from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revoice.data.corpora.librispeech import LibriSpeech
from revoice.data.corpora.manifest import SPLITS, Manifest, Row
from revoice.data.corpora.splits import Splits, unit
from revoice.data.corpora.vctk import VCTK
from revoice.errors import UserError


def manifest(*rows: Row) -> Manifest:
    return Manifest("test", Path("/nowhere"), ()).with_rows(rows)


def parallel(speakers: int, sentences: int, own: int = 0) -> Manifest:
    """Every speaker says every sentence, and some of their own."""
    rows = []
    for s in range(speakers):
        gender = "FM"[s % 2]
        rows += [
            Row(id=f"s{s}_{k}", path="x", speaker=f"s{s}", sentence=f"t{k}", gender=gender) for k in range(sentences)
        ]
        rows += [Row(id=f"s{s}_o{k}", path="x", speaker=f"s{s}", gender=gender) for k in range(own)]
    return manifest(*rows)


PINNED_SPEAKERS = ["s11", "s18"]
PINNED_SENTENCES = {"t4"}

clips = st.lists(st.tuples(st.integers(0, 7), st.one_of(st.none(), st.integers(0, 9))), min_size=1, max_size=60)
amounts = st.one_of(st.floats(0, 0.9), st.integers(0, 12))


@settings(max_examples=200, deadline=None)
@given(clips, st.integers(0, 3), amounts, amounts, st.floats(0, 0.9))
def test_properties(clips: list, seed: int, unseen: float, sentences: float, val: float) -> None:
    rows = [
        Row(id=f"u{i}", path="x", speaker=f"s{s}", sentence=None if k is None else f"t{k}")
        for i, (s, k) in enumerate(clips)
    ]
    rule = Splits(seed=seed, unseen_speakers=unseen, test_sentences=sentences, val=val)
    result = rule.assign(manifest(*rows))
    assert result == rule.assign(manifest(*reversed(rows)))  # no order, no state
    assert [row.id for row in result] == sorted(row.id for row in rows) and {row.split for row in result} <= set(SPLITS)
    splits = defaultdict(set)
    for row in result:
        splits[row.speaker].add(row.split)
    assert all(found == {"test_unseen"} or "test_unseen" not in found for found in splits.values())
    assert all("train" in found for found in splits.values() if found != {"test_unseen"})  # seen means seen
    assert any("train" in found for found in splits.values())
    taught = {unit(row) for row in result if row.split in ("train", "val")}
    assert not taught & {unit(row) for row in result if row.split == "test_seen"}
    assert {row.split for row in result} <= {"train", "val"} or unseen or sentences
    assert (val == 0) <= (not any(row.split == "val" for row in result))


def held_out_sentences(manifest: Manifest) -> set[str]:
    """Sentences of the test rows that no train or val row says."""
    taught = {row.sentence for row in manifest if row.split in ("train", "val")}
    return {row.sentence for row in manifest if row.sentence and row.split.startswith("test")} - taught


def test_the_draw_is_pinned_for_ever() -> None:
    """The same split on every machine: these names may only change with a new rule."""
    result = Splits(seed=0).assign(parallel(20, 10, own=10))
    assert result.info["splits"] == Splits(seed=0).assign(parallel(20, 10, own=10)).info["splits"]
    assert result.info["splits"]["unseen_speakers"] == PINNED_SPEAKERS
    assert held_out_sentences(result) == PINNED_SENTENCES
    assert Splits(seed=1).assign(parallel(20, 10, own=10)).info["splits"]["unseen_speakers"] != PINNED_SPEAKERS


def test_sizes_and_genders() -> None:
    result = Splits(unseen_speakers=0.2, test_sentences=0.1, val=0.05).assign(parallel(40, 50, own=50))
    unseen = [row for row in result if row.split == "test_unseen"]
    assert len({row.speaker for row in unseen}) == 8 and len(unseen) == 800
    assert sum(row.gender == "F" for row in unseen) == 400
    assert sum(row.split == "test_seen" for row in result) == pytest.approx(320, rel=0.05)
    assert sum(row.split == "val" for row in result) == pytest.approx(0.05 * 2880, rel=0.15)
    assert len(held_out_sentences(result)) == 5


def test_a_new_speaker_moves_nobody_else() -> None:
    before = {row.id: row.split for row in Splits(unseen_speakers=0, test_sentences=0).assign(parallel(9, 10))}
    after = {row.id: row.split for row in Splits(unseen_speakers=0, test_sentences=0).assign(parallel(10, 10))}
    assert all(after[id] == split for id, split in before.items())


def test_counts_and_names() -> None:
    result = Splits(unseen_speakers=3, test_sentences=2, val=0).assign(parallel(6, 10, own=5))
    assert len(result.info["splits"]["unseen_speakers"]) == 3 and len(held_out_sentences(result)) == 2
    rows = parallel(4, 3).with_rows(
        [*parallel(4, 3), Row(id="x", path="x", speaker="s0", sentence="sbe0d1dcc0b", text="Oh no!")]
    )
    result = Splits(unseen_speakers=["s1"], test_sentences=["t1"]).assign(rows)
    assert result.info["splits"]["unseen_speakers"] == ["s1"]
    assert {row.sentence for row in result if row.split == "test_seen"} == {"t1"}


def test_a_sentence_may_be_named_by_its_words() -> None:
    from revoice.data.corpora.base import sentence_id

    rows = manifest(
        *(Row(id=f"{s}{k}", path="x", speaker=s, sentence=sentence_id(k)) for s in "ab" for k in ("Oh no", "Yes", "Hm"))
    )
    result = Splits(unseen_speakers=0, test_sentences=["oh, no!"], val=0).assign(rows)
    assert [row.id for row in result if row.split == "test_seen"] == ["aOh no", "bOh no"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unseen_speakers": ["s77"]}, "unknown speaker"),
        ({"test_sentences": ["nothing said"]}, "unknown sentence"),
        ({"unseen_speakers": -1}, "unseen_speakers=-1"),
        ({"val": 1.5}, "val=1.5"),
        ({"val": "x"}, "val=x"),
    ],
)
def test_wrong_settings(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Splits(**settings).assign(parallel(3, 3))


def test_small_corpora() -> None:
    one = Splits().assign(parallel(1, 10))  # one speaker: nobody unseen
    assert {row.split for row in one} == {"train", "val", "test_seen"}
    assert [row.split for row in Splits().assign(parallel(1, 1))] == ["train"]
    single = Splits().assign(parallel(30, 0, own=1))  # one clip each: all to train on
    assert {row.split for row in single} == {"train"}
    forced = Splits(unseen_speakers=40).assign(parallel(30, 0, own=1))
    assert sum(row.split == "train" for row in forced) == 1
    assert len(Splits().assign(manifest())) == 0


def test_a_speaker_whose_every_sentence_is_held_out_by_name_is_unseen() -> None:
    rows = [*parallel(2, 3), Row(id="z", path="x", speaker="z", sentence="t0")]
    result = {
        row.id: row.split for row in Splits(unseen_speakers=0, test_sentences=["t0"], val=0).assign(manifest(*rows))
    }
    assert result["z"] == "test_unseen" and result["s0_0"] == "test_seen" and result["s0_1"] == "train"


def test_pinned_splits_win() -> None:
    rows = list(parallel(4, 10))
    rows[0] = replace(rows[0], split="val")
    rows = [replace(row, split="test_unseen") if row.speaker == "s3" else row for row in rows]
    result = {row.id: row for row in Splits(unseen_speakers=0.5, test_sentences=0.2).assign(manifest(*rows))}
    assert result[rows[0].id].split == "val"
    assert {row.speaker for row in result.values() if row.split == "test_unseen"} == {"s3"}
    assert sum(row.split == "val" for row in result.values()) == 1
    assert any(row.split == "test_seen" for row in result.values())
    assert all(row.sentence != rows[0].sentence for row in result.values() if row.split == "test_seen")
    everything = manifest(*(replace(row, split="train") for row in rows))
    assert Splits().assign(everything).rows == everything.rows


def test_pinned_splits_may_not_contradict_each_other() -> None:
    rows = [Row(id="a", path="x", speaker="s", split="test_unseen"), Row(id="b", path="x", speaker="s", split="train")]
    with pytest.raises(UserError, match="'s' is test_unseen in a but not in b"):
        Splits().assign(manifest(*rows))


def test_real_corpora(shared: Path) -> None:
    vctk = Splits().assign(VCTK(shared / "data" / "vctk_mini").manifest())
    assert min(vctk.info["splits"]["counts"].values()) > 0
    libri = Splits().assign(LibriSpeech(shared / "data" / "librispeech_mini").manifest())
    assert libri.info["splits"]["counts"]["train"] > 150 and len(libri.info["splits"]["unseen_speakers"]) == 1
