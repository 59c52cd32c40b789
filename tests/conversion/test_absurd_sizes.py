"""Descriptions and tensors that ask for more than their file holds: one line, in little memory."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from revoice.audio.io import write_audio
from revoice.checkpoint.description import KEY
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.errors import UserError
from revoice.untrusted import plain
from tests.conversion.untrusted_helpers import SPEC, command, content, deep, refusal, require_one_line, small


def described(file: Path, *path: str, value: Any) -> None:
    """A file of the small model, both forms, with one value of its description replaced."""
    whole = content()
    place = whole[KEY]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    if file.suffix == ".ckpt":
        torch.save(whole, file)
    else:
        state = {name.removeprefix("model."): tensor for name, tensor in whole["state_dict"].items()}
        save_file(state, file, metadata={KEY: json.dumps(whole[KEY])})


def laughs() -> list[Any]:
    """A list that is a gigabyte long when it is written out, and 300 bytes in a pickle."""
    value: list[Any] = [1] * 10
    for _ in range(25):
        value = [value] * 10
    return value


SETTINGS = ("arguments", "speaker_encoder")
ABSURD: list[tuple[tuple[str, ...], Any]] = [
    *((("arguments", *path), value)
      for path in [("n_features",), ("speaker_encoder", "channels"), ("content_encoder", "bank"), ("decoder", "blocks"),
                   ("speaker_encoder", "dense_blocks"), ("decoder", "pitch_bins"), ("decoder", "kernel"), ("frames",)]
      for value in (-1, 10**12, float("nan"))),
    *((("arguments", "decoder", "blocks"), value) for value in (2**70, "many", [1], {"a": 1}, 2.5)),
    (("arguments", "decoder", "blocks"), 999_999), (("arguments", "content_encoder", "bank"), 999_999),
    (("arguments", "speaker_encoder", "dense_blocks"), 999_999), (("arguments", "n_features"), 999_999),
    ((*SETTINGS, "channels"), 999_999), ((*SETTINGS, "bank_step"), 0), ((*SETTINGS, "dropout"), 7.0),
    ((*SETTINGS, "subsample"), [0]), ((*SETTINGS, "subsample"), []), ((*SETTINGS, "subsample"), [10**6, 10**6]),
    ((*SETTINGS, "subsample"), ["a"]), ((*SETTINGS, "subsample"), [2] * 90_000), ((*SETTINGS, "subsample"), None),
    (("arguments", "frames"), -3), (("arguments", "sampler"), {"a": 1}), (("arguments", "perturb"), "x"),
    (("arguments", "decoder"), deep(10_000)), (("arguments", "decoder"), laughs()), (("data",), deep(900)),
    (("arguments",), None), (("arguments",), [1]), (("arguments", "_target_"), "os.system"),
    (("arguments", "__class__"), "os.system"), (("arguments", "decoder", "_target_"), "os.system"),
    (("model",), "os.system"), (("model",), "revoice.models.adain_vc.AdaINVC"), (("model",), "__class__"),
    (("model",), ["adain_vc"]), (("model",), "\x1b[2J\x1b]0;x\x07\nadain_vc"), (("model",), "a" * 10**6),
    (("format",), 2),
    (("features", "n_fft"), 2**40), (("features", "n_fft"), 2**17), (("features", "highpass"), 1e-30),
    (("features", "sample_rate"), 2**40), (("features", "mels"), -80),
    (("features", "mels"), 79), (("features", "hop"), 0), (("features", "win"), "x"), (("features", "floor"), "nan"),
    (("features", "highpass_order"), 10**6), (("features", "multiply"), 1e400), (("features", "clip"), [0, "inf"]),
    (("features", "_target_"), "os.system"), (("features",), []), (("features",), {}),
    (("trim_db",), "x"), (("trim_db",), {}), (("speakers",), "p1"), (("speakers",), [1]), (("speakers",), {}),
    (("levels",), [1.0]), (("levels",), ["a"]), (("fields",), [1]), (("fields",), {"f0": 3}), (("version",), {}),
]  # fmt: skip

CHILD = """
import json, resource, sys
from revoice.checkpoint.load import load_checkpoint
from revoice.errors import UserError
honest, *files = sys.argv[1:]
load_checkpoint(honest)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
said = {}
for file in files:
    try:
        load_checkpoint(file)
        said[file] = None
    except UserError as error:
        said[file] = str(error)
print(json.dumps(said))
"""


def in_little_memory(honest: Path, files: list[Path]) -> dict[Path, str | None]:
    """What a process with 300 MB says about each file; None: it was loaded."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(honest), *map(str, files)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not done.stderr, "no warnings beside the line"
    return {Path(file): line for file, line in json.loads(done.stdout).items()}


def _is_laughs(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 10 and isinstance(value[0], list)


def test_nesting_in_a_header_is_refused(tmp_path: Path) -> None:
    state = {"a": torch.zeros(1)}
    for text in ("[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, "1" * 10_000, "NaN", '"\ud83d"', "[1,", ""):
        save_file(state, tmp_path / "m.safetensors", metadata={KEY: text.encode("utf-8", "replace").decode()})
        refusal(tmp_path / "m.safetensors", lambda: load_checkpoint(tmp_path / "m.safetensors"))


def claims() -> dict[str, dict[str, Any]]:
    """Checkpoints whose tensors are not what the model needs."""
    name = "model.decoder.conv_out.weight"
    whole = content()["state_dict"]
    value = whole[name]

    def with_tensor(tensor: Any) -> dict[str, Any]:
        changed = content()
        changed["state_dict"][name] = tensor
        return changed

    huge = content()
    huge[KEY]["arguments"]["decoder"]["channels"] = 10**6
    for key, tensor in huge["state_dict"].items():
        huge["state_dict"][key] = torch.zeros(1).expand([10**6 if size == 8 else size for size in tensor.shape])
    return {
        "one number, said to be a trillion": with_tensor(torch.zeros(1).expand(10**6, 10**6)),
        "the described size, of one number": huge,
        "one number, said to be many elsewhere": content(callbacks={"a": torch.zeros(1).expand(10**9)}),
        "integers": with_tensor(value.to(torch.int64)),
        "doubles": with_tensor(value.double()),
        "complex": with_tensor(value.to(torch.complex64)),
        "NaN": with_tensor(torch.full_like(value, torch.nan)),
        "infinity": with_tensor(torch.full_like(value, -torch.inf)),
        "transposed": with_tensor(value.transpose(0, 1).clone()),
        "empty": with_tensor(torch.zeros(0)),
        "sparse": with_tensor(value.to_sparse()),
        "meta": with_tensor(value.to("meta")),
        "a number": with_tensor(3),
        "words": with_tensor("conv"),
        "one too many": {**content(), "state_dict": {**whole, "model.more": torch.zeros(1)}},
        "laughs": content(callbacks=laughs()),
        "names that are no words": {**content(), "state_dict": {3: value}},
        "no state_dict": {**content(), "state_dict": [value]},
    }


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits a process's memory as Linux does")
def test_absurd_sizes_cost_no_memory(tmp_path: Path) -> None:
    honest = tmp_path / "honest.ckpt"
    save(*small(), honest)
    files: dict[Path, str] = {}
    for index, (path, value) in enumerate(ABSURD):
        for suffix in (".ckpt", ".safetensors"):
            if suffix == ".safetensors" and (_is_laughs(value) or index % 4):
                continue  # the first cannot be written, the others are told apart by the same code
            file = tmp_path / f"{index}{suffix}"
            try:
                described(file, *path, value=value)
            except RecursionError:  # what the writer cannot write
                continue
            files[file] = f"{'.'.join(path)} {value!s:.60}" if not isinstance(value, list) else ".".join(path)
    whole = {**claims(), "bytearray": content(extra=bytearray(8)), "set": content(extra={1, 2})}
    for name, what in whole.items():
        files[tmp_path / f"{name}.ckpt"] = name
        torch.save(what, tmp_path / f"{name}.ckpt")
    for file, line in in_little_memory(honest, list(files)).items():
        assert line is not None, files[file]
        require_one_line(UserError(line), file)


def test_names_of_speakers_cannot_steer_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "m.ckpt"
    whole = content("vqvae")
    whole[KEY]["speakers"] = ["\x1b[2Jp1", "p2"]
    torch.save(whole, file)
    load_checkpoint(file)
    write_audio(tmp_path / "a.wav", 0.1 * np.sin(np.arange(24_000) / 20), 24_000)
    line = refusal(file, lambda: command("convert", f"ckpt={file}", f"src={tmp_path / 'a.wav'}", "tgt=p3"))
    assert "p2" in line


def test_features_of_another_size_are_refused(tmp_path: Path) -> None:
    described(tmp_path / "m.ckpt", "features", value=SPEC.to_dict() | {"mels": 40})
    assert "n_features" in refusal(tmp_path / "m.ckpt", lambda: load_checkpoint(tmp_path / "m.ckpt"))


def test_only_plain_values_are_plain() -> None:
    with pytest.raises(UserError):
        plain(laughs(), "x")
    with pytest.raises(UserError):
        plain({"a": io.BytesIO()}, "x")
    assert plain({"a": [1, 2.5, None, "b", True, (1,)]}, "x")
