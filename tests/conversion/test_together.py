"""A folder is converted as each of its files alone, whichever are converted together."""

import json
from pathlib import Path

import numpy as np
import pytest

import revoice
from revoice.audio.io import read_audio, write_audio
from revoice.checkpoint.load import DEFAULT
from revoice.conversion import jobs
from revoice.conversion.converter import Converter
from revoice.conversion.jobs import Result, convert_files
from revoice.conversion.outputs import find_sources, find_target, plan
from revoice.evaluation.conversions import Request, convert_batch

RATE = 16000


@pytest.fixture(scope="module")
def folder(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of the embedded voices: five files of a second, three of one and a half, one of another length.

    And one of a second that is silent, and one of one and a half that is mostly pause.
    """
    place = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    speech = np.concatenate([read_audio(file, RATE).samples for file in sorted(place.glob("p90*/*.flac"))[:12]])
    out, first = tmp_path_factory.mktemp("together"), 0
    for number, seconds in enumerate([1.0, 1.5, 1.0, 1.0, 2.2, 1.5, 1.0, 1.5, 1.0]):
        last = first + round(seconds * RATE)
        write_audio(out / f"{number}.wav", speech[first:last], RATE)
        first = last
    write_audio(out / "pause.wav", np.pad(speech[: RATE // 3], (0, RATE * 3 // 2 - RATE // 3)), RATE)
    write_audio(out / "silent.wav", np.zeros(RATE), RATE)
    return out


def run(converter: Converter, folder: Path, out: Path) -> Result:
    target = find_target([str(folder / "4.wav")], out)
    return convert_files(converter, plan(find_sources([str(folder)], out), target, out), target, converter.controls({}))


@pytest.mark.parametrize("which, iterations", [("trained", 0), ("trained", 32), ("shipped", 32)])
def test_a_folder_gives_the_waveforms_of_single_conversions(
    which: str, iterations: int, folder: Path, request: pytest.FixtureRequest, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    checkpoint = request.getfixturevalue("trained") if which == "trained" else DEFAULT
    converter = revoice.load(checkpoint, vocoder={"name": "griffin_lim", "iterations": iterations})
    sizes, speech = [], converter.speech

    def counted(clips, voice, controls):
        sizes.append(len(clips))
        return speech(clips, voice, controls)

    with monkeypatch.context() as patch:
        patch.setattr(converter, "speech", counted)
        patch.setattr(jobs, "TOGETHER", 4)
        result = run(converter, folder, tmp_path)
    assert sorted(sizes) == [1, 1, 1, 3, 4], "a second: four and one; one and a half: three, and the pause; another"
    assert [Path(skipped.source).name for skipped in result.skipped] == ["silent.wav"]
    voice = converter.voice(folder / "4.wav")
    for path in result.written:
        source = json.loads(path.with_suffix(".json").read_text())["source"]
        alone = converter.convert(source, voice).samples
        off = np.abs(read_audio(path).samples - alone)
        # a search for phases makes more of what a sum in another order rounds away; a step of 16 bits is 3e-5
        assert off.max() < (1e-3 if iterations else 1e-4) and np.sqrt(np.mean(off**2)) < 1e-4, path.name
        if path.name in ("4_to_4.wav", "pause_to_4.wav"):  # what was converted alone
            assert off.max() <= 2**-15


def test_an_evaluation_says_what_a_folder_says(folder: Path, tmp_path: Path) -> None:
    converter = revoice.load(vocoder={"name": "griffin_lim", "iterations": 0})
    written = run(converter, folder, tmp_path).written[:4]
    sources = [json.loads(path.with_suffix(".json").read_text())["source"] for path in written]
    assert [Path(source).name for source in sources] == ["0.wav", "2.wav", "3.wav", "6.wav"], "one group"
    target = [read_audio(folder / "4.wav")]
    made = convert_batch(converter)([Request(read_audio(source), target, "") for source in sources])
    for path, clip in zip(written, made, strict=True):
        clip.save(tmp_path / "evaluated.wav")
        assert (tmp_path / "evaluated.wav").read_bytes() == path.read_bytes()


def test_a_search_takes_its_files_one_by_one(folder: Path, tmp_path: Path) -> None:
    sources = find_sources([str(folder)], tmp_path)
    planned = plan(sources, find_target([str(folder / "4.wav")], tmp_path), tmp_path)
    assert {len(group) for group in jobs._groups(revoice.load("random_cnn"), planned)} == {1}
    assert {len(group) for group in jobs._groups(revoice.load(), planned)} == {1, 2, 4}
