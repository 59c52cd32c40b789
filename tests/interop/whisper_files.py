"""A tiny Whisper in every form that is published, written by hand."""

import functools
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from revoice.nn.whisper import WhisperEncoder, WhisperSize

SIZE = WhisperSize(mels=8, width=128, heads=2, layers=2)
DIMS = {"n_mels": 8, "n_audio_ctx": 1500, "n_audio_state": 128, "n_audio_head": 2, "n_audio_layer": 2, "n_vocab": 9}
TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
DECODER = {"decoder.token_embedding.weight": torch.randn(9, 128), "decoder.ln.bias": torch.randn(128)}


@functools.cache
def weights(dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """An encoder of random weights, names of openai-whisper."""
    torch.manual_seed(0)
    return {name: value.detach().to(dtype) for name, value in WhisperEncoder(SIZE).state_dict().items()}


def hugging_face(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The names of Hugging Face."""
    words = {
        "positional_embedding": "embed_positions.weight", "ln_post": "layer_norm", "blocks": "layers",
        "attn.query": "self_attn.q_proj", "attn.key": "self_attn.k_proj", "attn.value": "self_attn.v_proj",
        "attn.out": "self_attn.out_proj", "attn_ln": "self_attn_layer_norm", "mlp.0": "fc1", "mlp.2": "fc2",
        "mlp_ln": "final_layer_norm",
    }  # fmt: skip
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, words)) + r")\b")
    return {prefix + pattern.sub(lambda match: words[match[1]], name): value for name, value in state.items()}


def ctranslate(state: Mapping[str, Tensor], heads: int = 2) -> dict[str, Tensor]:
    """The variables of CTranslate2: queries, keys and values in one."""
    rest, found = dict(state), {"encoder/num_heads": torch.tensor(heads, dtype=torch.int16)}
    for layer in range(SIZE.layers):
        for kind in ("weight", "bias"):
            q, v = (rest.pop(f"blocks.{layer}.attn.{part}.{kind}") for part in ("query", "value"))
            k = rest.pop(f"blocks.{layer}.attn.key.weight") if kind == "weight" else torch.zeros_like(q)
            found[f"encoder/layer_{layer}/self_attention/linear_0/{kind}"] = torch.cat([q, k, v])
    words = {
        "positional_embedding": "position_encodings/encodings", "ln_post": "layer_norm", "conv1": "conv1",
        "conv2": "conv2", "attn.out": "self_attention/linear_1", "attn_ln": "self_attention/layer_norm",
        "mlp.0": "ffn/linear_0", "mlp.2": "ffn/linear_1", "mlp_ln": "ffn/layer_norm",
    }  # fmt: skip
    for name, value in rest.items():
        layer, inner = re.fullmatch(r"(?:blocks\.(\d)\.)?(.+?)", name).groups()  # type: ignore[union-attr]
        word, kind = (inner, "") if inner in words else inner.rsplit(".", 1)
        if "ln" in word:
            kind = {"weight": "gamma", "bias": "beta"}[kind]
        parts = ["encoder", *([f"layer_{layer}"] if layer else []), words[word], *([kind] if kind else [])]
        found["/".join(parts)] = value
    return found


def word(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def variable(name: str, value: Tensor) -> bytes:
    """One of a `model.bin`."""
    numbers = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    head = word(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    return head + struct.pack("<BI", TYPES.index(value.dtype), len(numbers)) + numbers


def model_bin(
    variables: Mapping[str, Tensor],
    aliases: Mapping[str, str] | None = None,
    version: int = 6,
    architecture: str = "WhisperSpec",
    count: int | None = None,
) -> bytes:
    """A whole `model.bin`."""
    head = struct.pack("<I", version) + word(architecture) + struct.pack("<II", 3, count or len(variables))
    body = b"".join(variable(name, value) for name, value in sorted(variables.items()))
    tail = b"".join(word(alias) + word(target) for alias, target in (aliases or {}).items())
    return head + body + struct.pack("<I", len(aliases or {})) + tail


def quantized(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as int8 with a scale per row, as CTranslate2 does it."""
    found = {}
    for name, value in variables.items():
        if not name.endswith("weight"):
            found[name] = value
            continue
        scale = 127 / value.float().flatten(1).abs().amax(1)
        found[name] = (value.float() * scale.reshape(-1, *[1] * (value.ndim - 1))).round().to(torch.int8)
        found[f"{name}_scale"] = scale
    return found


def write_all(folder: Path) -> dict[str, Path]:
    """Every form of the same weights."""
    state = weights()
    other = {f"model.{name}": value for name, value in DECODER.items()}
    forms = {
        "openai": state,
        "openai, prefixed": {f"encoder.{name}": value for name, value in state.items()},
        "hugging face": hugging_face(state, "model.encoder.") | other | {"proj_out.weight": torch.zeros(9, 128)},
        "hugging face, short": hugging_face(state, "encoder.") | DECODER,
        "hugging face, encoder only": hugging_face(state),
    }
    files = {form: folder / f"{form}.safetensors" for form in forms}
    for form, tensors in forms.items():
        save_file({name: value.clone() for name, value in tensors.items()}, files[form])
    files["openai .pt"] = folder / "tiny.pt"
    whole = {f"encoder.{name}": value for name, value in state.items()} | DECODER
    torch.save({"dims": DIMS, "model_state_dict": whole}, files["openai .pt"])
    files["hugging face .bin"] = folder / "pytorch_model.bin"
    torch.save(hugging_face(state, "model.encoder.") | other, files["hugging face .bin"])
    files["ctranslate2"] = folder / "model.bin"
    variables = ctranslate(state) | {"decoder/embeddings/weight": torch.randn(9, 128)}
    files["ctranslate2"].write_bytes(model_bin(variables, {"decoder/projection/weight": "decoder/embeddings/weight"}))
    return files
