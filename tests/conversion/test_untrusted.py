"""Files that would run code, lie about their sizes or are damaged: one line, nothing run, nothing written."""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from revoice.audio.io import write_audio
from revoice.audio.speaker import _weights as resemblyzer_weights
from revoice.checkpoint.description import KEY, SENTENCES, packed
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.errors import UserError
from revoice.interop.adain_vc import read_statistics
from revoice.interop.pickled import read_pickled
from revoice.untrusted import plain, read_torch
from tests.conftest import TINY
from tests.conversion.untrusted_helpers import (
    SIZES,
    WRITERS,
    Call,
    calls,
    command,
    deep,
    load_or_refuse,
    refusal,
    small,
    torch_zip,
    trust,
    zip_with,
)

CALLS = sorted(calls(Path("marker")))


@pytest.mark.parametrize("kind", sorted(SIZES))
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_honest_files_load(kind: str, suffix: str, tmp_path: Path) -> None:
    model, about = small(kind)
    save(model, about, tmp_path / f"m{suffix}")
    loaded = load_checkpoint(tmp_path / f"m{suffix}")
    assert loaded.description.to_dict() == about.to_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)


@pytest.mark.parametrize(("corpora", "suffix"), [(1, ".safetensors"), (2, ".ckpt")])
def test_as_many_speakers_as_a_corpus_has_are_read_back(corpora: int, suffix: str, tmp_path: Path) -> None:
    """Common Voice has some 90,000 in English; beyond what is read back training does not begin."""
    model, about = small()
    names = [f"speaker-{number:08d}" for number in range(200_000 // corpora)]
    levels = [5.0 + number / 7e5 for number in range(len(names))] if corpora == 2 else []
    told = {"a": [f"{number:08x}" for number in range(SENTENCES)]}
    about = replace(about, speakers=names, levels=levels, data={"corpus": "a"}, sentences=packed(told))
    about = about.after([replace(about, data={"corpus": name}) for name in "ab"[:corpora]])
    assert sum(map(len, about.heard.values())) == 200_000
    about.require_readable()
    save(model, about, tmp_path / f"m{suffix}")
    assert load_checkpoint(tmp_path / f"m{suffix}").description == about
    with pytest.raises(UserError, match="more names than a checkpoint can hold"):
        replace(about, levels=[], speakers=[f"{name}-{n}" for name in names for n in range(5)]).require_readable()


def test_what_asks_for_millions_of_objects_is_refused(tmp_path: Path) -> None:
    honest, file, header_only = tmp_path / "honest.ckpt", tmp_path / "m.ckpt", tmp_path / "m.safetensors"
    save(*small(), honest)
    zip_with(file, {"data.pkl": b"\x80\x02(" + (5 << 20) * b"]" + b"l."}, honest)
    assert "steps of pickle" in refusal(file, lambda: load_checkpoint(file))
    save_file({"a": torch.zeros(1)}, header_only, metadata={KEY: f"[{'[],' * (2 << 20)}0]"})
    assert "letters" in refusal(header_only, lambda: load_checkpoint(header_only))
    wide: list[Any] = [0] * 900_000
    for _ in range(3):
        wide = [wide] * 900_000
    with pytest.raises(UserError, match="more values"):
        plain(wide, "x")


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("form", sorted(WRITERS))
def test_no_pickle_runs_its_code(form: str, kind: str, tmp_path: Path) -> None:
    marker, file = tmp_path / "marker", tmp_path / "m.ckpt"
    WRITERS[form](file, calls(marker)[kind])
    disguised = tmp_path / "m.safetensors"
    disguised.write_bytes(file.read_bytes())
    statistics = tmp_path / "attr.pkl"
    statistics.write_bytes(pickle.dumps({"mean": calls(marker)[kind], "std": 0}, protocol=2))
    refusal(file, lambda: load_checkpoint(file))
    refusal(disguised, lambda: load_checkpoint(disguised))
    refusal(file, lambda: resemblyzer_weights(file))
    refusal(statistics, lambda: read_statistics(statistics))
    assert not marker.exists()
    trust(file)
    assert marker.exists(), "the payload must work, or this test shows nothing"


def entries(file: Path, workplace: Path, out: Path) -> dict[str, Callable[[], Any]]:
    """Every way in which a file of weights comes in."""
    clip = out.with_name("clip.wav")
    write_audio(clip, 0.1 * np.sin(np.arange(24_000) / 20), 24_000)
    config = out.with_name("config.yaml")
    config.write_text("{}")
    train = [
        *TINY, "model=adain_vc_small", "debug=tiny", "logger=none", "trainer=cpu", f"paths.data_dir={workplace}/data",
        f"hydra.run.dir={out}",
    ]  # fmt: skip
    return {
        "convert": lambda: command("convert", f"ckpt={file}", f"src={clip}", f"tgt={clip}", f"out={out}"),
        "export": lambda: command("export", f"ckpt={file}", f"out={out}.safetensors"),
        "import": lambda: command("import_checkpoint", "kind=adain_vc", f"path={file}", f"out={out}.ckpt"),
        "evaluate": lambda: command("evaluate", f"ckpt={file}", *TINY, f"paths.data_dir={workplace}/data"),
        "init_from": lambda: command("train", *train, f"init_from={file}"),
        "resume": lambda: command("train", *train, f"ckpt_path={file}"),
        "run folder": lambda: load_checkpoint(file.parent),
    }


@pytest.mark.parametrize("form", ["zip", "pickle 4"])
@pytest.mark.parametrize("entry", ["convert", "export", "import", "evaluate", "init_from", "resume", "run folder"])
def test_no_command_runs_code(
    entry: str, form: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker, file, out = tmp_path / "marker", tmp_path / "run" / "best.ckpt", tmp_path / "out"
    file.parent.mkdir()
    WRITERS[form](file, calls(marker)["os.system"])
    line = refusal(file, entries(file, workplace, out)[entry])
    assert "best.ckpt" in line or entry == "import" and "config.yaml" in line
    assert not marker.exists() and not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.part"))
    trust(file)
    assert marker.exists()


def test_a_message_names_what_was_asked_for(tmp_path: Path) -> None:
    torch_zip(tmp_path / "m.ckpt", Call(eval, "1"))
    line = refusal(tmp_path / "m.ckpt", lambda: load_checkpoint(tmp_path / "m.ckpt"))
    assert "asks for" in line and "eval" in line and "safetensors" in line


def test_a_tar_archive_is_never_unpacked(tmp_path: Path) -> None:
    """Its first bytes, the name of a member, can be pickles that say nothing of those inside."""
    file = tmp_path / "m.pt"
    WRITERS["tar, harmless pickles in front"](file, {"a": 1})
    for read in (lambda: read_pickled(file, "glow"), lambda: read_torch(file, legacy=True)):
        assert "a tar archive" in refusal(file, read)


def numbered(values: np.ndarray, protocol: int) -> bytes:
    return pickle.dumps({"mean": values, "std": values}, protocol=protocol)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_honest_statistics_are_read(protocol: int, kind: str, tmp_path: Path) -> None:
    values = np.linspace(0, 1, 7).astype(kind)
    (tmp_path / "attr.pkl").write_bytes(numbered(values, protocol))
    read = read_statistics(tmp_path / "attr.pkl")
    assert read["mean"].dtype == np.float32
    np.testing.assert_array_equal(read["mean"], values.astype(np.float32))


def test_statistics_that_lie_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "attr.pkl"
    whole = numbered(np.ones(7, np.float32), 2)
    for data in (
        b"", whole[:-20], b"\x80\x02}r\xff\xff\xff\x7f.", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        numbered(np.full(7, np.nan, np.float32), 2), numbered(np.ones((2, 7), np.float32), 2),
        numbered(np.array([1, None]), 2), numbered(np.ones(7, np.int64), 2),
        whole.replace(b"K\x07", b"K\x09"), whole.replace(b"K\x07", b"J\xff\xff\xff\x7f"),
        pickle.dumps({"mean": 3, "std": 3}), pickle.dumps([1]), pickle.dumps({"mean": np.ones(3, "f4")}),
    ):  # fmt: skip
        file.write_bytes(data)
        refusal(file, lambda: read_statistics(file))


def test_archives_that_lie_are_refused(tmp_path: Path) -> None:
    honest, file = tmp_path / "honest.ckpt", tmp_path / "m.ckpt"
    save(*small(), honest)
    top = zipfile.ZipFile(honest).namelist()[0].split("/")[0]
    program = zipfile.ZipFile(honest).read(f"{top}/data.pkl")
    zip_with(file, {}, honest)
    load_checkpoint(file)  # a copy is in order
    storage = program.replace(b"K\x08", b"J\xff\xff\xff\x7f")
    for changed, method in [
        ({"code/model.py": b"import os"}, zipfile.ZIP_STORED), ({"constants.pkl": b"\x80\x02)."}, zipfile.ZIP_STORED),
        ({"x/data.pkl": program}, zipfile.ZIP_STORED), ({"DATA.PKL": program}, zipfile.ZIP_STORED),
        ({"data/0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED), ({"data.pkl": program[:-50]}, zipfile.ZIP_STORED),
        ({"data.pkl": storage}, zipfile.ZIP_STORED), ({"data/0": b""}, zipfile.ZIP_STORED),
        ({"byteorder": b"middle"}, zipfile.ZIP_STORED), ({"data.pkl": bytes(5 << 20)}, zipfile.ZIP_STORED),
    ]:  # fmt: skip
        zip_with(file, changed, honest, method)
        refusal(file, lambda: load_checkpoint(file))
    whole = bytearray(honest.read_bytes())
    for place in range(0, len(whole), len(whole) // 25):  # one bit, anywhere: no weight differs unnoticed
        broken = bytearray(whole)
        broken[place] ^= 4
        file.write_bytes(broken)
        if loaded := load_or_refuse(file):
            for name, value in small()[0].state_dict().items():
                assert torch.equal(loaded.model.state_dict()[name], value)


def test_scripted_modules_are_refused(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "m.ckpt"))
    refusal(tmp_path / "m.ckpt", lambda: load_checkpoint(tmp_path / "m.ckpt"))


def header(text: bytes, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_safetensors_that_lie_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    one = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    for data in (
        b"", b"\0" * 7, header(b"{}", b"", 2**63), header(b"{}", b"", 2**64 - 1), header(b"{}", b"", 10**8 + 1),
        header(b"{}", b""), header(b'{"a":' + one.encode() + b"}", b"\0" * 4),
        header(b'{"a":' + one.encode() + b',"b":' + one.encode() + b"}", b"\0" * 8),
        header(b'{"a":' + one.encode() + b',"a":' + one.encode() + b"}", b"\0" * 8),
        header(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,8]}}', b"\0" * 8),
        header(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}', b""),
        header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}', b"\0" * 8),
        header(b'{"a":{"dtype":"Q8","shape":[2],"data_offsets":[0,8]}}', b"\0" * 8),
        header(b'{"__metadata__":{"revoice":3}}', b""), header(b'{"__metadata__":{"revoice":"{}"}}', b""),
        header(b"[" * 50_000, b""), header(b"\xff\xfe", b""),
        header(b'{"\\u001b[2J":' + one.encode() + b"}", b"\0" * 8),
    ):  # fmt: skip
        file.write_bytes(data)
        refusal(file, lambda: load_checkpoint(file))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_what_is_no_regular_file_is_refused(suffix: str, tmp_path: Path) -> None:
    pipe, device, folder = (tmp_path / f"{name}{suffix}" for name in ("pipe", "device", "folder"))
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    folder.mkdir()
    for file in (pipe, device):
        assert "regular" in refusal(file, lambda file=file: load_checkpoint(file))
        assert "regular" in refusal(file, lambda file=file: read_statistics(file))
    refusal(folder, lambda: load_checkpoint(folder))


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_what_cannot_be_written_leaves_nothing(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, about = small()
    (tmp_path / f"m{suffix}").mkdir()
    refusal(tmp_path, lambda: save(model, about, tmp_path / f"m{suffix}"))
    (tmp_path / "file").write_text("")
    refusal(tmp_path, lambda: save(model, about, tmp_path / "file" / f"m{suffix}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", f"m{suffix}"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("revoice.atomic.os.fsync", full)
    assert "No space" in refusal(tmp_path, lambda: save(model, about, tmp_path / f"n{suffix}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", f"m{suffix}"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update(optimizer_states=[{"state": {}, "param_groups": []}]), "training state"),
        (lambda s: s.update(optimizer_states=[1, 2, 3]), "training state"),
        (lambda s: s.update(loops=deep(20)), "training state"),
        (lambda s: s.update(callbacks=3), "training state"),
        (lambda s: s.update(global_step="1"), "can be resumed"),
        (lambda s: s.pop("optimizer_states"), "can be resumed"),
        (lambda s: s["state_dict"].popitem(), "do not fit"),
        (lambda s: next(iter(s["state_dict"].values())).fill_(torch.nan), "not finite"),
        (lambda s: s["optimizer_states"][0].update(param_groups=[{"params": [0]}]), "training state"),
    ],
)
def test_training_states_that_lie_are_refused(
    change: Callable[[dict[str, Any]], Any], words: str, trained: Path, workplace: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    state = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    change(state)
    file = tmp_path / "last.ckpt"
    torch.save(state, file)
    resumed = [
        *TINY, "model=adain_vc_small", "debug=tiny", "logger=none", "trainer=cpu", "max_iterations=20",
        f"paths.data_dir={workplace}/data", f"hydra.run.dir={tmp_path / 'out'}", f"ckpt_path={file}",
    ]  # fmt: skip
    assert words in refusal(file, lambda: command("train", *resumed))
    assert not list((tmp_path / "out").rglob("last.ckpt"))
