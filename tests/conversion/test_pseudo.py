"""Pseudo-voices: far from the speaker, the same again, one per speaker, utterance or for all."""

from pathlib import Path

import numpy as np
import pytest
import torch

from revoice.audio.io import AudioError, read_audio, write_audio
from revoice.conversion.pseudo import Hiding, Pool, PoolVoice, PseudoVoices, audible, drawn, open_pool, speakers_in
from revoice.errors import UserError

ANGLES = np.linspace(0.0, np.pi / 2, 10)


def pool() -> Pool:
    """Ten voices on a quarter of a circle."""
    directions = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
    return Pool([PoolVoice(f"v{i}", [Path(f"v{i}/a.wav")], vector) for i, vector in enumerate(directions)])


def first() -> np.ndarray:
    return np.array([1.0, 0.0], np.float32)


def test_a_voice_is_one_of_the_far_ones_and_the_same_again() -> None:
    hiding = Hiding(PseudoVoices(far=0.3), pool())
    chosen = {name: hiding.behind(name, first).label for name in map(str, range(60))}
    assert set(chosen.values()) == {"v7", "v8", "v9"}
    assert chosen == {name: hiding.behind(name, first).label for name in chosen}
    other = Hiding(PseudoVoices(far=0.3, seed=1), pool())
    assert chosen != {name: other.behind(name, first).label for name in chosen}
    assert chosen != {name: hiding.behind(name, first, by="attacker").label for name in chosen}
    assert hiding.behind("0", first).clips == [Path(f"{chosen['0']}/a.wav")]


def test_nobody_is_hidden_behind_a_voice_of_the_pool_that_is_his_own() -> None:
    hiding = Hiding(PseudoVoices(far=1.0), pool())
    chosen = {hiding.behind(str(i), first, own=["v3", "v9"]).label for i in range(60)}
    assert chosen == {f"v{i}" for i in (0, 1, 2, 4, 5, 6, 7, 8)}
    with pytest.raises(UserError, match=r"v9: expected others in voices\.pool"):
        Hiding(PseudoVoices(far=0.1), pool()).behind("x", first, own=["v9"])


def test_from_the_other_side_others_are_far() -> None:
    hiding = Hiding(PseudoVoices(far=0.1), pool())
    assert hiding.behind("x", lambda: np.array([0.0, 1.0], np.float32)).label == "v0"


def test_a_table_has_names_and_is_not_asked_for_vectors() -> None:
    def never() -> np.ndarray:
        raise AssertionError

    hiding = Hiding(PseudoVoices(), table=["ann", "bob", "cleo"])
    chosen = [hiding.behind(str(i), never) for i in range(40)]
    assert {target.label for target in chosen} == {"ann", "bob", "cleo"}
    assert all(target.clips == [Path(target.label)] and target.embedding is None for target in chosen)


class Sampler:
    """Draws a voice that is the nearer to the second axis the larger the seed."""

    def sample(self, gender: str, seed: int) -> torch.Tensor:
        assert gender in ("female", "male")
        angle = torch.tensor(seed / 2**31 * np.pi / 2)
        return 3.0 * torch.stack([angle.cos(), angle.sin()])[None].float()


def test_a_sample_is_spoken_by_the_nearest_voice_with_its_own_embedding() -> None:
    hiding = Hiding(PseudoVoices(gender="female"), pool(), sampler=Sampler())
    for name in map(str, range(20)):
        target = hiding.behind(name, first)
        assert target.embedding is not None and target.label.startswith("female")
        assert float(target.embedding.norm()) == pytest.approx(1.0)
        angle = float(torch.atan2(target.embedding[1], target.embedding[0]))
        assert target.clips == [Path(f"v{int(np.abs(ANGLES - angle).argmin())}/a.wav")]
    either = Hiding(PseudoVoices(), pool(), sampler=Sampler())
    assert {either.behind(str(i), first).label[:4] for i in range(20)} == {"fema", "male"}


def test_draws_are_even() -> None:
    values = [drawn(str(i)) for i in range(4000)]
    assert np.histogram(values, 4, (0, 1))[0] == pytest.approx([1000] * 4, rel=0.1)


def test_who_has_a_voice_of_its_own() -> None:
    base = Path("in")
    files = {base / name: base for name in ("ann/a.wav", "ann/b/c.wav", "bob/a.wav", "d.wav")}
    assert {who: len(own) for who, own in speakers_in(files, "speaker").items()} == {"ann": 2, "bob": 1, "in": 1}
    assert len(speakers_in(files, "utterance")) == 4 and len(speakers_in(files, "all")) == 1


def test_a_pool_of_one_voice_is_told(tmp_path: Path, clip: str) -> None:
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "a.flac").write_bytes(Path(clip).read_bytes())
    with pytest.raises(UserError, match=r"voices\.pool"):
        open_pool(tmp_path)


def test_silent_and_broken_recordings_of_a_pool_are_passed_over(tmp_path: Path, clip: str) -> None:
    speech = read_audio(clip, 16000)
    for name in ("ann", "bob"):
        write_audio(tmp_path / name / "b.wav", speech.samples, 16000)
        write_audio(tmp_path / name / "a.wav", np.zeros(16000, np.float32), 16000)
    write_audio(tmp_path / "cleo" / "short.wav", speech.samples, 16000)

    def hear(file: Path) -> None:
        if file.name == "short.wav":
            raise AudioError("too short")

    voices = open_pool(tmp_path, hear=hear).voices
    assert {voice.name: [file.name for file in voice.clips] for voice in voices} == {
        "ann": ["b.wav"], "bob": ["b.wav"],
    }  # fmt: skip
    assert not audible([tmp_path / "ann" / "a.wav"])


def test_nobody_is_hidden_behind_a_voice_of_his_own_in_a_table() -> None:
    hiding = Hiding(PseudoVoices(), table=["ann", "bob"])
    assert {hiding.behind(f"ann/{i}.wav", first, own=["ann"]).label for i in range(20)} == {"bob"}
    with pytest.raises(UserError, match="ann, bob"):
        hiding.behind("all", first, own=["ann", "bob"])


@pytest.mark.parametrize("hiding", [Hiding(PseudoVoices(far=0.6), pool()), Hiding(PseudoVoices(), table=[*"abcdef"])])
def test_voices_are_shared_only_when_all_are_taken(hiding: Hiding) -> None:
    names = hiding.in_turn([f"s{i}" for i in range(12)])
    assert names == hiding.in_turn(sorted(names)) != sorted(names)
    labels = [hiding.behind(name, first).label for name in names]
    assert len(set(labels[:6])) == len(set(labels[6:])) == 6
    assert labels == [hiding.behind(name, first).label for name in names]


def test_folders_of_one_name_at_two_places_are_two_speakers() -> None:
    files = {Path(f"in/{name}/wav/a.wav"): Path(f"in/{name}/wav") for name in ("ann", "bob")}
    files |= {Path("in/cleo/a.wav"): Path("in"), Path("in/cleo/b.wav"): Path("in/cleo")}
    assert {who: len(own) for who, own in speakers_in(files, "speaker").items()} == {
        "ann/wav": 1, "bob/wav": 1, "cleo": 2,
    }  # fmt: skip
    assert {*speakers_in(files, "utterance")} == {"ann/wav/a.wav", "bob/wav/a.wav", "cleo/a.wav", "b.wav"}
