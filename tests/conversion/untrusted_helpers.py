"""A small model in a file, files that run code when somebody trusts them, and the commands that read files."""

import functools
import importlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from revoice.audio.presets import load_preset
from revoice.checkpoint.description import KEY, Description
from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel

SPEC = load_preset("mel_22k")
SIZES: dict[str, dict[str, Any]] = {
    "adain_vc": {
        "speaker_encoder": {"channels": 8, "out": 8, "bank": 2, "bank_channels": 4, "dense_blocks": 1},
        "content_encoder": {"channels": 8, "out": 8, "bank": 2, "bank_channels": 4},
        "decoder": {"channels": 8, "kernel": 3, "blocks": 3, "pitch_bins": 4},
    },
    "vqvae": {
        "n_speakers": 2, "voice": "speaker", "voice_dim": 4, "encoder": {"channels": 8},
        "quantizer": {"codebook_size": 8, "dim": 4}, "decoder": {"channels": 8, "kernel": 3, "blocks": 3},
    },
    "speech2speech": {
        "n_speakers": 2, "channels": 8, "residual_channels": 4, "residual_layers": 1, "voice_dim": 4,
        "quantizer": {"codebook_size": 8, "dim": 4},
    },
}  # fmt: skip


def small(kind: str = "adain_vc", **more: Any) -> tuple[ConversionModel, Description]:
    """A model of a few thousand weights and its description."""
    torch.manual_seed(0)
    arguments = {"n_features": SPEC.channels, **SIZES[kind], **more}
    speakers = ["p1", "p2"] if arguments.get("n_speakers") else []
    about = Description(model=kind, arguments=arguments, features=SPEC.to_dict(), trim_db=15.0, speakers=speakers)
    return MODELS.build(kind, arguments), about


def content(kind: str = "adain_vc", **more: Any) -> dict[str, Any]:
    """What a `.ckpt` of the small model holds."""
    model, about = small(kind)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    return {KEY: about.to_dict(), "state_dict": state, "global_step": 1, "optimizer_states": [], **more}


class Call:
    """Pickled as a call: whoever unpickles it runs `function(*arguments)`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def calls(marker: Path) -> dict[str, Any]:
    """Objects that create `marker` when they are unpickled."""
    write = f"open({str(marker)!r}, 'w').close()"
    touch = ["touch", str(marker)]
    inner = pickle.dumps(Call(os.system, " ".join(touch)))
    hidden = np.empty(1, dtype=object)
    hidden[0] = Call(os.system, " ".join(touch))
    return {
        "os.system": Call(os.system, " ".join(touch)),
        "eval": Call(eval, write),
        "exec": Call(exec, write),
        "subprocess": Call(subprocess.check_call, touch),
        "partial": Call(functools.reduce, Call(functools.partial, map), [Call(exec, write)]),
        "nested pickle": Call(pickle.loads, inner),
        "torch storage": Call(torch.storage._load_from_bytes, _legacy(Call(os.system, " ".join(touch)))),
        "numpy objects": hidden,
        "bytearray by getattr": Call(getattr(Path, "touch"), marker),  # noqa: B009
    }


def _legacy(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def torch_zip(file: Path, call: Any, **how: Any) -> None:
    """A checkpoint in perfect order with one entry more."""
    torch.save(content(extra=call), file, **how)


def plain_pickle(file: Path, call: Any, protocol: int = 4) -> None:
    file.write_bytes(pickle.dumps({KEY: {}, "state_dict": {}, "extra": call}, protocol=protocol))


def torch_tar(file: Path, call: Any, first: str = "") -> None:
    """The oldest format of torch.save; `first` names an empty member before the others."""
    with tarfile.open(file, "w") as archive:
        parts = {
            **({first: b""} if first else {}),
            "storages": pickle.dumps(0) + pickle.dumps([]),
            "tensors": pickle.dumps(0),
            "pickle": pickle.dumps(call, protocol=2),
        }
        for name, data in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def zip_with(file: Path, changed: dict[str, bytes], source: Path, method: int = zipfile.ZIP_STORED) -> None:
    """A copy of the archive `source` with members replaced or added (checksums are right)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(file, "w", method) as new:
        top = old.namelist()[0].split("/")[0]
        members = {name: old.read(name) for name in old.namelist()}
        members |= {f"{top}/{name}": data for name, data in changed.items()}
        for name, data in members.items():
            new.writestr(name, data)


WRITERS: dict[str, Callable[[Path, Any], None]] = {
    "zip": torch_zip,
    "zip, protocol 4": functools.partial(torch_zip, pickle_protocol=4),
    "legacy": functools.partial(torch_zip, _use_new_zipfile_serialization=False),
    "tar": torch_tar,
    "tar, harmless pickles in front": functools.partial(torch_tar, first=5 * "N."),
    "pickle 0": functools.partial(plain_pickle, protocol=0),
    "pickle 2": functools.partial(plain_pickle, protocol=2),
    "pickle 4": plain_pickle,
}


def trust(file: Path) -> None:
    """Unpickle a file as one must not."""
    try:
        torch.load(file, weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, TypeError, AttributeError):  # no file of torch, or after the deed
        with file.open("rb") as handle:
            pickle.load(handle)


def command(name: str, *arguments: str) -> None:
    """Run a command; what it says in one line and status 2 comes back as `UserError`."""
    from _pytest.monkeypatch import MonkeyPatch

    said = io.StringIO()
    with MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", *arguments])
        patch.setattr(sys, "stderr", said)
        try:
            importlib.import_module(f"revoice.cli.{name}").main()
        except SystemExit as stop:
            lines = [line for line in said.getvalue().splitlines() if not line.startswith("preparing")]
            assert stop.code == 2 and len(lines) == 1, said.getvalue()
            raise UserError(lines[0]) from stop


def require_one_line(error: UserError, file: Path) -> None:
    """The house's rule about messages, and that a terminal can be shown them."""
    text = str(error)
    assert text.isprintable() and len(text) <= 400 + 2 * len(str(file)), text


def refusal(file: Path, read: Callable[[], Any]) -> str:
    """The one line that `read` says about a file."""
    with pytest.raises(UserError) as error:
        read()
    require_one_line(error.value, file)
    return str(error.value)


def load_or_refuse(file: Path) -> Loaded | None:
    """The model of a file that may be damaged, or None if one line refused it."""
    try:
        return load_checkpoint(file)
    except UserError as error:
        require_one_line(error, file)
        return None


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value
