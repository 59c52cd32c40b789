"""Names of outputs, what is never replaced, and what is not converted again."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import revoice
from revoice.atomic import require_writable, write_text
from revoice.audio.io import read_audio, resample, write_audio
from revoice.conversion import jobs
from revoice.conversion.converter import Converter
from revoice.conversion.jobs import Result, convert_files
from revoice.conversion.outputs import (
    NAME,
    Job,
    Target,
    check_out,
    find_sources,
    find_target,
    is_finished,
    made_here,
    plan,
    record_of,
    require_pattern,
)  # fmt: skip
from revoice.errors import UserError
from tests.hostile import RATE, voice


@pytest.fixture(scope="module")
def converter(trained: Path) -> Converter:
    return revoice.load(trained)


def write(path: Path, f0: float = 130.0) -> Path:
    write_audio(path, voice(0.5, f0=f0), RATE)
    return path


def run(converter: Converter, sources: list[Path], targets: list[Path], out: Path, name: str = NAME) -> Result:
    target = find_target([str(path) for path in targets], out)
    planned = plan(find_sources([str(path) for path in sources], check_out(str(out))), target, out, name)
    return convert_files(converter, planned, target, converter.controls({}))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_recording_called_like_an_output_is_kept_and_converted_itself(converter: Converter, tmp_path: Path) -> None:
    clips, target = tmp_path / "clips", write(tmp_path / "b.wav", 200)
    write(clips / "a.wav")
    write(clips / "a_to_b.wav", 90)
    before = contents(clips)
    result = run(converter, [clips], [target], clips)
    assert {*names(result.written)} == {"a_to_b_2.wav", "a_to_b_to_b.wav"}
    assert before.items() <= contents(clips).items()
    record = json.loads((clips / "a_to_b_to_b.json").read_text())
    assert record["source"] == str(clips / "a_to_b.wav")


def test_conversions_inside_the_sources_are_not_converted_again(converter: Converter, tmp_path: Path) -> None:
    clips, target = tmp_path / "clips", write(tmp_path / "b.wav", 200)
    write(clips / "a.wav")
    out = clips / "converted"
    assert find_sources([str(clips)], out).left_out == 0
    assert names(run(converter, [clips], [target], out).written) == ["a_to_b.wav"]
    before = contents(clips)
    again = run(converter, [clips], [target], out)
    assert not again.written and names(again.kept) == ["a_to_b.wav"] and contents(clips) == before
    assert find_sources([str(clips)], out).left_out == 1
    assert find_sources([str(out / "a_to_b.wav")], out).left_out == 0  # named
    with pytest.raises(UserError, match="no audio file found but 1 conversions"):
        find_sources([str(out)], out)
    other = tmp_path / "other"
    assert find_sources([str(clips)], other).left_out == 1  # an earlier conversion, into another folder
    assert find_sources([str(clips), str(out)], other).left_out == 0
    assert find_sources([str(out)], other).left_out == 0  # a second time, on purpose
    write(out / "of_my_own.wav")  # in that folder, and not revoice's
    assert names(run(converter, [clips], [target], out).written) == ["of_my_own_to_b.wav"]


def test_two_targets_of_one_name_are_both_kept(converter: Converter, tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.wav"), tmp_path / "out"
    ann, bob = write(tmp_path / "ann" / "ref.wav", 200), write(tmp_path / "bob" / "ref.wav", 90)
    (first,) = run(converter, [source], [ann], out).written
    said = first.read_bytes()
    (second,) = run(converter, [source], [bob], out).written
    assert (first.name, second.name) == ("a_to_ref.wav", "a_to_ref_2.wav") and first.read_bytes() == said
    for clip, path in ((ann, first), (bob, second)):
        assert run(converter, [source], [clip], out).kept == [path]


@pytest.mark.parametrize("mine", ["notes.json", "notes.wav"])
def test_a_file_that_revoice_did_not_make_is_not_replaced(mine: str, converter: Converter, tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.wav"), tmp_path / "o"
    out.mkdir()
    (out / mine).write_text("{}")
    with pytest.raises(UserError, match=rf"{mine} in that folder would be replaced"):
        run(converter, [source], [source], out / "notes.wav")
    (out / mine).rename(out / f"a_to_a{Path(mine).suffix}")
    assert names(run(converter, [source], [source], out).written) == ["a_to_a_2.wav"]
    assert (out / f"a_to_a{Path(mine).suffix}").read_text() == "{}"


def test_an_output_that_was_edited_is_the_users(converter: Converter, tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav")
    (made,) = run(converter, [source], [source], tmp_path / "o").written
    write_audio(made, read_audio(made).samples * 0.5, 22050)
    edited = made.read_bytes()
    assert made_here(made) is None
    assert names(run(converter, [source], [source], tmp_path / "o").written) == ["a_to_a_2.wav"]
    assert made.read_bytes() == edited


def test_a_conversion_goes_on_where_it_stopped(trained: Path, tmp_path: Path) -> None:
    converter = revoice.load(trained)
    clips, target, out = tmp_path / "clips", write(tmp_path / "b.wav", 200), tmp_path / "out"
    for number in range(3):
        write(clips / f"{number}.wav", 100 + 20 * number)
    assert len(run(converter, [clips], [target], out).written) == 3
    (out / "1_to_b.wav").unlink()  # as if it had been stopped before the second
    went_on = run(converter, [clips], [target], out)
    assert names(went_on.written) == ["1_to_b.wav"] and len(went_on.kept) == 2
    write(clips / "2.wav", 300)
    assert names(run(converter, [clips], [target], out).written) == ["2_to_b.wav"]
    other = revoice.load(trained, adapt=1)
    assert len(run(other, [clips], [target], out).written) == 3 and len(list(out.glob("*.wav"))) == 3
    write(target, 250)
    assert len(run(other, [clips], [target], out).written) == 3
    job = Job(clips / "0.wav", out / "0_to_b.wav")
    milder = convert_files(other, [job], find_target([str(target)], out), other.controls({"strength": 0.5}))
    assert milder.written == [job.out]


def test_what_was_said_with_an_embedding_is_said_again_without(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "voice_of", lambda converter, target: converter.voice(target.clips))
    job, clip = Job(write(tmp_path / "a.wav"), tmp_path / "out.wav"), write(tmp_path / "b.wav", 200)
    said = []
    for embedding in (torch.ones(4), torch.ones(4), None, None):
        target = Target([clip], "b", embedding)
        said.append(len(convert_files(converter, [job], target, converter.controls({})).written))
    assert said == [1, 0, 1, 0]


def test_a_vocoder_by_another_path_is_the_same(converter: Converter, tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav")
    (out,) = run(converter, [source], [source], tmp_path / "o").written
    record = json.loads(out.with_suffix(".json").read_text())
    record["vocoder_settings"] = {"projections": "free", "checkpoint": "/here/v.ckpt", "sha256": "1"}
    write_text(out.with_suffix(".json"), json.dumps(record))
    about = {key: value for key, value in record.items() if key not in ("seconds", "chunked", "real_time_factor")}
    for change, same in (
        ({"checkpoint": "/there/v.ckpt"}, True),
        ({"sha256": "2"}, False),
        ({"projections": "x"}, False),
    ):
        settings = {**record["vocoder_settings"], **change}
        assert is_finished(out, {**about, "vocoder_settings": settings}) is same


def test_two_formats_of_one_name_have_a_record_each(converter: Converter, tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.wav"), write(tmp_path / "b.wav", 200)
    for source, name in ((first, "x.wav"), (second, "x.flac")):
        run(converter, [source], [first], tmp_path / name)
    assert record_of(tmp_path / "x.wav").name == "x.json" and record_of(tmp_path / "x.flac").name == "x.flac.json"
    for source, name in ((first, "x.wav"), (second, "x.flac")):
        record = made_here(tmp_path / name)
        assert record is not None and record["source"] == str(source) and record["output"] == name
        assert run(converter, [source], [first], tmp_path / name).kept == [tmp_path / name]
    older = {key: value for key, value in json.loads((tmp_path / "x.json").read_text()).items() if key != "output"}
    write_text(tmp_path / "x.json", json.dumps(older))  # as earlier versions wrote it
    (tmp_path / "x.flac.json").unlink()
    assert made_here(tmp_path / "x.wav") and not made_here(tmp_path / "x.flac")
    assert run(converter, [first], [first], tmp_path / "x.wav").kept
    for suffix in (".wav", ".json"):
        (tmp_path / "x").with_suffix(suffix).rename((tmp_path / "y").with_suffix(suffix))
    assert made_here(tmp_path / "y.wav")


def test_a_kill_leaves_nothing_without_an_owner(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write(tmp_path / "a.wav"), tmp_path / "out"
    seen = []

    def killed(path: Path, text: str) -> None:
        seen.append(path)
        if len(seen) == 2:  # the sound is there, its record is about to be written
            os._exit(9)
        write_text(path, text)

    monkeypatch.setattr(jobs, "write_text", killed)
    if (child := os.fork()) == 0:
        run(converter, [source], [source], out)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    assert (out / "a_to_a.wav").is_file()
    assert names(run(converter, [source], [source], out).written) == ["a_to_a.wav"]
    assert len(contents(out)) == 2


def test_a_failure_leaves_the_record_as_it_was(converter: Converter, tmp_path: Path) -> None:
    source, target, out = write(tmp_path / "a.wav"), write(tmp_path / "b.wav", 200), tmp_path / "out"
    run(converter, [source], [target], out)
    before = contents(out)
    write_audio(source, np.zeros(RATE), RATE)
    assert len(run(converter, [source], [target], out).skipped) == 1 and contents(out) == before


def test_a_folder_of_targets_that_is_the_output_gives_its_own_clips(converter: Converter, tmp_path: Path) -> None:
    source, ann = write(tmp_path / "a.wav"), write(tmp_path / "ann" / "b.wav", 200)
    assert names(run(converter, [source], [ann.parent], ann.parent).written) == ["a_to_ann.wav"]
    assert names(run(converter, [source], [ann.parent], ann.parent).kept) == ["a_to_ann.wav"]


def test_targets_in_a_folder_and_in_a_list_are_named(converter: Converter, tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav")
    for name in ("b", "c", "d", "e"):
        write(tmp_path / "ann" / f"{name}.wav", 200)
    clips = [tmp_path / "ann" / f"{name}.wav" for name in "bcde"]
    assert find_target([str(tmp_path / "ann")], tmp_path / "o").clips == clips
    for targets, label in (([tmp_path / "ann"], "ann"), (clips[:2], "b+c"), (clips, "b+3")):
        assert names(run(converter, [source], targets, tmp_path / "o").written) == [f"a_to_{label}.wav"]
    assert find_target(["a/b", "c"], tmp_path, by_name=True).label == "a_b+c"
    with pytest.raises(UserError, match="no audio file found"):
        (tmp_path / "none").mkdir()
        find_target([str(tmp_path / "none")], tmp_path)


def test_a_pattern_of_ones_own_names_outputs(converter: Converter, tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav")
    assert names(run(converter, [source], [source], tmp_path / "o", "{target}-{source}!").written) == ["a-a!.wav"]
    for wrong in ("{speaker}", "{source.stem}", "{source:9}", "{}", "{source", "a/{source}", "", "{source!r}", "}"):
        with pytest.raises(UserError, match="expected a file name with {source} and {target}"):
            require_pattern(wrong)


@pytest.mark.parametrize("name", ["x.m4a", "x.MP4", "x.txt", "x.json", "x.aac"])
def test_a_suffix_that_cannot_be_written_is_no_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written, only \.wav \.flac"):
        check_out(str(tmp_path / name))
    assert check_out(f"{tmp_path / name}/") == tmp_path / name
    assert check_out(str(tmp_path / "v1.2")) == tmp_path / "v1.2" and not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_to_are_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, folder in (
        (Path("/dev/null"), True), (tmp_path / "file", True), (tmp_path / "file" / "x", True), (tmp_path, False),
        (Path("/proc/nothing/x"), True), (tmp_path / ("n" * 300), True), (tmp_path / ("n" * 6000) / "a.wav", False),
        (tmp_path / "file" / "a.wav", False),
    ):  # fmt: skip
        with pytest.raises(UserError) as caught:
            require_writable(path, folder=folder)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    require_writable(tmp_path / "new" / "deep", folder=True)
    require_writable(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]


def test_audio_saves_itself_and_plays_in_a_notebook(tmp_path: Path) -> None:
    from revoice.audio.io import Audio

    clip = Audio(voice(0.5), RATE)
    assert clip.save(tmp_path / "new" / "a.flac") == tmp_path / "new" / "a.flac"
    np.testing.assert_allclose(read_audio(tmp_path / "new" / "a.flac").samples, clip.samples, atol=1e-4)
    assert clip._repr_html_().startswith('<audio controls src="data:audio/wav;base64,UklGR')


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_a_format_without_the_rate_gets_the_next_one(rate: int, tmp_path: Path) -> None:
    from revoice.audio.io import Audio, write_blocks

    clip = Audio(voice(2.0, rate), rate)
    clip.save(tmp_path / "a.opus")
    blocks = np.array_split(clip.samples, 7)
    assert write_blocks(tmp_path / "b.opus", blocks, rate) == len(clip.samples)
    assert write_blocks(tmp_path / "c.opus", (np.stack([b, b], 1) for b in blocks), rate, 2) == len(clip.samples)
    wanted = {16000: 16000, 22050: 24000, 44100: 48000}[rate]
    for name in "abc":
        found = read_audio(tmp_path / f"{name}.opus")
        assert found.sample_rate == wanted and found.seconds == pytest.approx(clip.seconds, abs=0.01)
        again = resample(clip.samples, rate, wanted)[: len(found.samples)]
        assert np.corrcoef(found.samples[: len(again)], again)[0, 1] > 0.95
