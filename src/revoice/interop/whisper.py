"""Published encoders of Whisper, of any size, as ours: files of openai-whisper, Hugging Face and CTranslate2.

Our names are those of openai-whisper; the sizes are read off the shapes. The decoder of a file is passed over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revoice.checkpoint.fit import require_fit, sketch, widened
from revoice.checkpoint.load import unwrapped
from revoice.errors import UserError
from revoice.interop.ctranslate import is_model_bin, read_model_bin
from revoice.interop.published import renamed
from revoice.models.whisper import Whisper
from revoice.untrusted import read_safetensors, read_torch, refused

HEAD = 64  # channels of a head, in every size that was published
_PREFIXES = ("model.encoder.", "encoder.", "")
_HUGGING_FACE = (
    (r"^embed_positions\.weight$", "positional_embedding"),
    (r"^layer_norm\.", "ln_post."),
    (r"^layers\.(\d+)\.", r"blocks.\1."),
    (r"\.self_attn\.q_proj\.", ".attn.query."),
    (r"\.self_attn\.k_proj\.", ".attn.key."),
    (r"\.self_attn\.v_proj\.", ".attn.value."),
    (r"\.self_attn\.out_proj\.", ".attn.out."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
)
_CTRANSLATE = (  # after its slashes became dots
    (r"^position_encodings\.encodings$", "positional_embedding"),
    (r"\blayer_norm\.gamma$", "layer_norm.weight"),
    (r"\blayer_norm\.beta$", "layer_norm.bias"),
    (r"^layer_norm\.", "ln_post."),
    (r"^layer_(\d+)\.", r"blocks.\1."),
    (r"\.self_attention\.layer_norm\.", ".attn_ln."),
    (r"\.self_attention\.linear_0\.", ".attn.fused."),
    (r"\.self_attention\.linear_1\.", ".attn.out."),
    (r"\.ffn\.layer_norm\.", ".mlp_ln."),
    (r"\.ffn\.linear_0\.", ".mlp.0."),
    (r"\.ffn\.linear_1\.", ".mlp.2."),
)


@dataclass(frozen=True, kw_only=True)
class PublishedEncoder:
    """What a file holds.

    Attributes:
        model: in eval mode, in float32.  arguments: of `Whisper`.
        stored: type of the weights in the file: "float16" if all are, "int8" or "int16" if some are quantized (in the
            model are the numbers that those stand for), otherwise "float32", which holds all of them.
    """

    model: Whisper
    arguments: dict[str, int]
    stored: str


def published_encoder(file: Path) -> PublishedEncoder:
    """The encoder in a file of any of the published forms, which its first bytes tell apart.

    Raises:
        UserError: anything but an encoder of Whisper whose weights are all there and finite.
    """
    with refused(file, "encoder of Whisper"):
        found = _read(file)
        arguments = sizes(found.state)
        claimed = {**arguments, **{ours: found.dims[name] for name, ours in _DIMS.items() if name in found.dims}}
        if claimed != arguments:
            raise UserError(f"its dimensions are said to be {claimed}, its weights are of {arguments}")
        ours = {f"encoder.{name}": widened(value, torch.float32) for name, value in found.state.items()}
        require_fit(sketch(lambda: Whisper(**arguments), len(ours)).state_dict(), ours, "whisper")
        model = Whisper(**arguments)
        model.load_state_dict(ours)
    return PublishedEncoder(model=model.eval(), arguments=arguments, stored=found.stored)


def sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Arguments of `Whisper`, from the shape of the first convolution and the names of the layers.

    >>> sizes({"conv1.weight": torch.zeros(384, 80, 3), "blocks.0.mlp_ln.bias": torch.zeros(384)})
    {'n_features': 80, 'width': 384, 'heads': 6, 'layers': 1}
    """
    first = state.get("conv1.weight")
    if not isinstance(first, Tensor) or first.ndim != 3:
        raise UserError("no conv1.weight (width, mels, 3) in it: expected the encoder of Whisper")
    width, mels = int(first.shape[0]), int(first.shape[1])
    if width % HEAD or not width:
        raise UserError(f"conv1.weight is {list(first.shape)}: Whisper's widths are multiples of {HEAD}")
    layers = {match[1] for name in state if (match := re.match(r"blocks\.(\d+)\.", name))}
    return {"n_features": mels, "width": width, "heads": width // HEAD, "layers": len(layers)}


_DIMS = {"n_mels": "n_features", "n_audio_state": "width", "n_audio_head": "heads", "n_audio_layer": "layers"}


@dataclass(frozen=True)
class _Found:
    """Tensors by our names, what the file says of its sizes, and `PublishedEncoder.stored`."""

    state: dict[str, Any]
    dims: Mapping[str, Any]
    stored: str


def _read(file: Path) -> _Found:
    if file.suffix == ".safetensors":
        tensors = read_safetensors(file, "", _of_encoder)[1]
        return _Found(_ours(tensors), {}, _stored(tensors))
    if is_model_bin(file):
        variables = read_model_bin(file, "WhisperSpec", lambda name: name.startswith("encoder/"))
        return _of_ctranslate({name.removeprefix("encoder/"): value for name, value in variables.items()})
    content = read_torch(file)
    content = content if isinstance(content, dict) else {"model_state_dict": content}
    state, dims = content.get("model_state_dict", content), content.get("dims", {})
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state) or not isinstance(dims, dict):
        raise UserError("no model_state_dict and dims in it: expected a .pt of openai-whisper")
    state = {name: value for name, value in state.items() if _of_encoder(name)}
    return _Found(_ours(state), dims, _stored(state))


def _stored(state: Mapping[str, Any]) -> str:
    kinds = {value.dtype for value in state.values() if isinstance(value, Tensor)}
    for kind in (torch.int8, torch.int16):
        if kind in kinds:
            return str(kind).removeprefix("torch.")
    return "float16" if kinds == {torch.float16} else "float32"


def _of_encoder(name: str) -> bool:
    return not unwrapped(name).removeprefix("model.").startswith(("decoder.", "proj_out."))


def _ours(state: Mapping[str, Any]) -> dict[str, Any]:
    """Names of openai-whisper for those, or those of Hugging Face, with what stands before them."""
    names = {name: unwrapped(name) for name in state}
    prefix = next(each for each in _PREFIXES if not each or any(name.startswith(each) for name in names.values()))
    bare = {names[name].removeprefix(prefix): value for name, value in state.items()}
    return _renamed(bare, _HUGGING_FACE if "embed_positions.weight" in bare else (), len(state))


def _renamed(state: Mapping[str, Any], table: tuple[tuple[str, str], ...], count: int) -> dict[str, Any]:
    ours = {renamed(name, table): value for name, value in state.items()}
    if len(ours) < count:
        raise UserError("two of its weights are the same one of the encoder: get it anew from where it is")
    return ours


def _of_ctranslate(variables: dict[str, Tensor]) -> _Found:
    heads = variables.pop("num_heads", None)
    stored = _stored(variables)
    plain = {name.replace("/", "."): value for name, value in _dequantized(variables).items()}
    state = _renamed(plain, _CTRANSLATE, len(plain))
    for name in [name for name in state if ".attn.fused." in name]:
        state.update(_split(name, state.pop(name)))
    return _Found(state, {} if heads is None or heads.numel() != 1 else {"n_audio_head": int(heads)}, stored)


def _split(name: str, fused: Tensor) -> dict[str, Tensor]:
    """Query, key and value, which CTranslate2 computes at once; Whisper's key has no bias, there zeros stand for it."""
    if not fused.ndim or fused.shape[0] % 3 or not fused.numel():
        raise UserError(f"{name} is {list(fused.shape)}: expected query, key and value below each other")
    parts = dict(zip(("query", "key", "value"), fused.chunk(3), strict=True))
    if name.endswith(".bias") and bool(parts.pop("key").any()):
        raise UserError(f"{name} has a bias of the key, which Whisper has not")
    return {name.replace(".fused.", f".{part}."): value for part, value in parts.items()}


def _dequantized(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole numbers divided by their scale, one per row (int8) or per tensor (int16); other variables as they are."""
    state = {}
    for name, value in variables.items():
        if name.endswith("_scale"):
            if name.removesuffix("_scale") not in variables:
                raise UserError(f"{name} is the scale of nothing")
            continue
        scale = variables.get(f"{name}_scale")
        if value.dtype in (torch.int8, torch.int16) and scale is not None:
            if not value.ndim or scale.numel() not in (1, value.shape[0]) or not scale.is_floating_point():
                raise UserError(f"{name} of {list(value.shape)} has {scale.dtype} scales of {list(scale.shape)}")
            value = value.float() / scale.float().reshape(-1, *[1] * (value.ndim - 1))
        elif scale is not None:
            raise UserError(f"{name} is {value.dtype}, and has a scale")
        state[name] = value
    return state
