"""Every kind of unusable recording as source and as target: one line each, and nothing half-written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import revoice
from revoice.audio.io import AUDIO_SUFFIXES, AudioError, read_audio, write_audio
from revoice.checkpoint.save import save
from revoice.conversion.converter import Converter
from revoice.conversion.jobs import Result, convert_files
from revoice.conversion.outputs import find_sources, find_target, plan
from revoice.errors import UserError
from tests.conftest import ROOT
from tests.hostile import RATE, REFUSED, full_after, voice, write_hostile, write_usable


@pytest.fixture(scope="module")
def converter(trained: Path) -> Converter:
    return revoice.load(trained, adapt=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    write_hostile(root / "bad")
    write_usable(root / "odd")
    soundfile.write(root / "ordinary.wav", voice(1.0), RATE)
    with open(os.path.join(os.fsencode(root), b"bad", b"caf\xe9.wav"), "wb") as file:
        file.write((root / "ordinary.wav").read_bytes())
    return root


def convert(converter: Converter, source: Path, target: Path, out: Path) -> Result:
    voice = find_target([str(target)], out)
    return convert_files(converter, plan(find_sources([str(source)], out), voice, out), voice, converter.controls({}))


@pytest.mark.parametrize("name", REFUSED)
def test_an_unusable_recording_is_told_in_one_line(
    name: str, converter: Converter, folder: Path, tmp_path: Path
) -> None:
    bad, ordinary = folder / "bad" / name, folder / "ordinary.wav"
    lines = []
    with pytest.raises(UserError) as caught:
        convert(converter, ordinary, bad, tmp_path / "out")
    lines.append(str(caught.value))
    try:
        (skipped,) = convert(converter, bad, ordinary, tmp_path / "out").skipped
        lines.append(skipped.reason)
    except UserError as error:
        lines.append(str(error))
    for line in lines:
        assert str(bad) in line and "\n" not in line
        assert REFUSED[name] in line or "no audio file found" in line
    assert not list(tmp_path.rglob("*.*"))


def test_a_folder_of_them_converts_what_can_be_converted(converter: Converter, folder: Path, tmp_path: Path) -> None:
    result = convert(converter, folder, folder / "ordinary.wav", tmp_path / "out")
    unlisted = {"folder.wav"}  # a folder is looked into
    names = {Path(skipped.source).name for skipped in result.skipped}
    assert names == {*REFUSED, "caf\\xe9.wav"} - unlisted
    assert len(result.written) == len(list((folder / "odd").iterdir())) + 1
    for path in result.written:
        assert np.isfinite(read_audio(path).samples).all()
        assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["source"]


def test_odd_recordings_are_targets(converter: Converter, folder: Path) -> None:
    for target in sorted((folder / "odd").iterdir()):
        assert np.isfinite(converter.convert(folder / "ordinary.wav", target).samples).all(), target


def test_a_name_that_is_no_text_is_told_by_the_command(tmp_path: Path) -> None:
    command = [
        os.fsencode(sys.executable),
        os.fsencode(ROOT / "convert.py"),
        b"src=caf\xe9.wav",
        b"tgt=b.wav",
        b"ckpt=x",
    ]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2 and done.stderr.decode().strip().split("\n") == [
        "error: src=caf\\xe9.wav: this name is not valid UTF-8: rename the file"
    ]


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_full_disk_while_writing_audio(suffix: str, size: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 96000)
    with full_after(size), pytest.raises(UserError, match=f"cannot write a{suffix} to .*: File too large") as caught:
        write_audio(tmp_path / f"a{suffix}", noise, 48000)
    assert not isinstance(caught.value, AudioError)  # the disk's fault, not the recording's: all stops
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [3000, 200_000, 1_300_000])
def test_a_full_disk_while_converting_a_long_file(
    size: int, converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        converter, "vocode", lambda features, f0=None, like=None: np.ones((1, features.shape[-1] * 256), np.float32)
    )
    soundfile.write(tmp_path / "long.wav", np.tile(voice(1.0), 31), RATE)
    with full_after(size), pytest.raises(UserError, match=r"cannot write out\.wav to .*: File too large"):
        convert(converter, tmp_path / "long.wav", tmp_path / "long.wav", tmp_path / "new" / "out.wav")
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors"])
def test_a_full_disk_while_saving_a_model(name: str, converter: Converter, tmp_path: Path) -> None:
    save(converter.model, converter.loaded.description, tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with full_after(50_000), pytest.raises(UserError, match=f"cannot write {name} to .*: File too large"):
        save(converter.model, converter.loaded.description, tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
