"""Files that are no encoder of Whisper, are damaged, or claim to be larger than they are: one line each."""

import functools
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from revoice.interop.importers.whisper import PublishedWhisper
from revoice.interop.whisper import published_encoder
from tests.conversion.untrusted_helpers import calls, command, refusal, torch_zip
from tests.interop.whisper_files import DIMS, ctranslate, hugging_face, model_bin, variable, weights, word


def test_a_model_bin_cut_anywhere_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    whole = model_bin(ctranslate(weights()))
    places = [*range(60), *range(60, len(whole), len(whole) // 20), *range(len(whole) - 12, len(whole))]
    for place in places:
        file.write_bytes(whole[:place])
        refusal(file, lambda: published_encoder(file))
    file.write_bytes(whole + b"\0")
    assert "after its end" in refusal(file, lambda: published_encoder(file))


def replaced(**changed: Any) -> dict[str, Tensor]:
    """Variables of an honest `model.bin`, some of them replaced (None: left out); `__` stands for a slash."""
    new = {f"encoder/{name.replace('__', '/')}": value for name, value in changed.items()}
    return {name: value for name, value in (ctranslate(weights()) | new).items() if value is not None}


HEAD = struct.pack("<I", 6) + word("WhisperSpec") + struct.pack("<I", 3)
BIAS = "conv1__bias"


@functools.cache
def hostile_bins() -> dict[str, bytes]:
    """Files that are no encoder of Whisper, or say that they are larger than they are."""

    def one(rank: int, shape: tuple[int, ...], kind: int, size: int, numbers: bytes = b"\0" * 64) -> bytes:
        head = struct.pack("<I", 1) + word("encoder/conv1/weight") + struct.pack(f"<B{len(shape)}I", rank, *shape)
        return HEAD + head + struct.pack("<BI", kind, size) + numbers + struct.pack("<I", 0)

    first = [name for name in replaced() if "layer_0" in name]
    layers = {name.replace("layer_0", f"layer_{n}"): name for n in range(2, 400) for name in first}
    return {
        "empty": b"", "zeros": bytes(1000), "another version": model_bin(replaced(), version=5),
        "from the future": model_bin(replaced(), version=7),
        "another": model_bin(replaced(), architecture="Wav2Vec2Spec"),
        "a trillion numbers": one(2, (10**6, 10**6), 0, 64), "whose product wraps": one(4, (2**16,) * 4, 0, 0, b""),
        "four billion bytes": one(1, (2**30 - 1,), 0, 2**32 - 4), "many dimensions": one(255, (1,) * 255, 0, 4),
        "no numbers": one(3, (0, 80, 3), 0, 0, b""), "unknown type": one(1, (16,), 6, 64),
        "too few": one(1, (17,), 0, 64), "too many": one(1, (15,), 0, 64),
        "billions of variables": HEAD + struct.pack("<I", 2**32 - 1), "none": HEAD + bytes(8),
        "more variables than there are": model_bin(replaced(), count=500),
        "billions of aliases": model_bin(replaced())[:-4] + struct.pack("<I", 2**32 - 1),
        "a long name": HEAD + struct.pack("<IH", 1, 65535) + b"a" * 65535,
        "a name without end": HEAD + struct.pack("<IH", 1, 5) + b"abcde" + bytes(20),
        "twice": HEAD + struct.pack("<I", 2) + 2 * variable("encoder/conv1/bias", torch.zeros(4)) + bytes(4),
        "not a number": model_bin(replaced(**{BIAS: torch.full((128,), torch.nan)})),
        "infinite": model_bin(replaced(**{BIAS: torch.full((128,), torch.inf).half()})),
        "whole numbers": model_bin(replaced(**{BIAS: torch.zeros(128, dtype=torch.int32)})),
        "one missing": model_bin(replaced(**{BIAS: None})), "one more": model_bin(replaced(more=torch.zeros(3))),
        "a name for terminals": model_bin(replaced(**{"\x1b[2J": torch.zeros(3)})),
        "another size": model_bin(replaced(**{BIAS: torch.zeros(127)})),
        "a width of none": model_bin(replaced(conv1__weight=torch.zeros(100, 8, 3))),
        "a flat convolution": model_bin(replaced(conv1__weight=torch.zeros(128, 8))),
        "more mels than bins": model_bin(replaced(conv1__weight=torch.zeros(128, 300, 3))),
        "other heads": model_bin(ctranslate(weights(), heads=4)),
        "a key with a bias": model_bin(replaced(layer_1__self_attention__linear_0__bias=torch.ones(384).half())),
        "no query": model_bin(replaced(layer_1__self_attention__linear_0__weight=torch.ones(128, 128))),
        "an odd query": model_bin(replaced(layer_1__self_attention__linear_0__weight=torch.ones(100, 128))),
        "a scalar query": model_bin(replaced(layer_1__self_attention__linear_0__weight=torch.ones(()))),
        "one layer, said to be many": model_bin(replaced(), layers),
    }  # fmt: skip


CLAIMS = ("a trillion numbers", "four billion bytes", "billions of variables", "billions of aliases", "a long name",
          "one layer, said to be many")  # fmt: skip


@pytest.mark.parametrize("what", sorted(hostile_bins()))
def test_hostile_model_bins_are_refused(what: str, tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(hostile_bins()[what])
    assert "model.bin" in refusal(file, lambda: PublishedWhisper().read(file)) or what == "more mels than bins"


CHILD = """
import json, resource, sys
from pathlib import Path
from revoice.errors import UserError
from revoice.interop.whisper import published_encoder
honest, *files = map(Path, sys.argv[1:])
published_encoder(honest)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
said = []
for file in files:
    try:
        published_encoder(file)
    except UserError as error:
        said.append(str(error))
print(json.dumps(said))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits a process's memory as Linux does")
def test_what_a_file_claims_costs_no_memory(tmp_path: Path) -> None:
    honest, files = tmp_path / "honest.bin", []
    honest.write_bytes(model_bin(ctranslate(weights())))
    for number, what in enumerate(CLAIMS):
        files.append(tmp_path / f"{number}.bin")
        files[-1].write_bytes(hostile_bins()[what])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(honest), *map(str, files)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert len(said) == len(files) and not any("memory" in line for line in said)


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


HOSTILE: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "nothing": lambda s: {"a": torch.zeros(1)},
    "one missing": lambda s: without(s, "ln_post.bias"),
    "one more": lambda s: s | {"blocks.0.attn.key.bias": torch.zeros(128)},
    "a layer missing": lambda s: {k: v for k, v in s.items() if not k.startswith("blocks.0")},
    "another layer": lambda s: s | {"blocks.99999999999999999999.mlp.0.bias": torch.zeros(4)},
    "names of both": lambda s: s | {"embed_positions.weight": s["positional_embedding"]},
    "both prefixes": lambda s: s | {"encoder.conv1.weight": s["conv1.weight"]},
    "names of Hugging Face alone": lambda s: without(hugging_face(s), "embed_positions.weight"),
    "not a number": lambda s: s | {"conv1.bias": torch.full((128,), torch.nan)},
    "infinite": lambda s: s | {"conv1.bias": torch.full((128,), -torch.inf).half()},
    "doubles": lambda s: s | {"conv1.bias": torch.zeros(128, dtype=torch.float64)},
    "whole numbers": lambda s: s | {"conv1.bias": torch.zeros(128, dtype=torch.int64)},
    "more positions": lambda s: s | {"positional_embedding": torch.zeros(1501, 128)},
    "another width": lambda s: s | {"conv1.weight": torch.zeros(192, 8, 3)},
    "empty": lambda s: s | {"conv1.weight": torch.zeros(0, 8, 3)},
}


@pytest.mark.parametrize("form", ["safetensors", "pt"])
@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_what_is_no_whisper_is_refused(what: str, form: str, tmp_path: Path) -> None:
    file, state = tmp_path / f"w.{form}", HOSTILE[what](weights())
    if form == "pt":
        torch.save({"dims": DIMS, "model_state_dict": {f"encoder.{k}": v for k, v in state.items()}}, file)
    else:
        save_file({name: value.clone() for name, value in state.items()}, file)
    out = tmp_path / "out.safetensors"
    assert file.name in refusal(
        file, lambda: command("import_checkpoint", "kind=whisper", f"path={file}", f"out={out}")
    )
    assert not out.exists()


def test_a_pt_runs_no_code_and_says_nothing_false(tmp_path: Path) -> None:
    marker, file = tmp_path / "marker", tmp_path / "tiny.pt"
    for call in calls(marker).values():
        torch_zip(file, call)
        refusal(file, lambda: published_encoder(file))
    assert not marker.exists()
    state = {f"encoder.{name}": value for name, value in weights().items()}
    for dims in (DIMS | {"n_audio_head": 8}, DIMS | {"n_mels": 80}, DIMS | {"n_audio_layer": 10**12}, [1], None,
                 DIMS | {"n_mels": torch.zeros(3)}):  # fmt: skip
        torch.save({"dims": dims, "model_state_dict": state}, file)
        refusal(file, lambda: published_encoder(file))
    for content in ([1], {"model_state_dict": 3}, {"model_state_dict": {3: torch.zeros(1)}}, {"dims": DIMS}, 3,
                    {"model_state_dict": state | {"encoder.conv1.weight": "x"}}):  # fmt: skip
        torch.save(content, file)
        refusal(file, lambda: published_encoder(file))
