"""Published AdaIN-VC files: `*.ckpt` (a plain state_dict), its `config.yaml` and the statistics `attr.pkl`.

Written by the programs of github.com/jjery2243542/adaptive_voice_conversion (Apache-2.0).
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from revoice.checkpoint.fit import require_finite
from revoice.errors import UserError
from revoice.interop.published import load_renamed, renamed, settings_of
from revoice.models.adain_vc import AdaINVC
from revoice.untrusted import read_small, refused, require_bounded

# published name -> ours; {i} is an index, kept unless a factor and offset are given
_RENAMES = (
    (r"conv_bank\.(\d+)\.", lambda m: f"bank.{m[1]}."),
    (r"in_conv_layer\.", lambda m: "conv_in."),
    (r"out_conv_layer\.", lambda m: "conv_out."),
    (r"first_conv_layers\.(\d+)\.", lambda m: f"blocks.{m[1]}.conv1."),
    (r"second_conv_layers\.(\d+)\.", lambda m: f"blocks.{m[1]}.conv2."),
    (r"first_dense_layers\.(\d+)\.", lambda m: f"dense.{2 * int(m[1])}."),
    (r"second_dense_layers\.(\d+)\.", lambda m: f"dense.{2 * int(m[1]) + 1}."),
    (r"output_layer\.", lambda m: "out."),
    (r"mean_layer\.", lambda m: "mean."),
    (r"std_layer\.", lambda m: "log_variance."),  # named sigma upstream, used as log variance
    (r"^decoder\.conv_affine_layers\.(\d+)\.", lambda m: f"affine.{m[1]}."),
)

_ENCODER = ("c_in", "c_h", "c_out", "kernel_size", "bank_size", "bank_scale", "c_bank", "subsample", "dropout_rate")
_NEEDED = {
    "SpeakerEncoder": (*_ENCODER, "n_dense_blocks"),
    "ContentEncoder": _ENCODER,
    "Decoder": ("c_h", "kernel_size", "dropout_rate", "n_conv_blocks", "upsample"),
}  # of a config.yaml


def our_name(published: str) -> str:
    """Our parameter name for a published one.

    >>> our_name("speaker_encoder.second_dense_layers.3.weight")
    'speaker_encoder.dense.7.weight'
    """
    return renamed(published, _RENAMES)


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by our names, without statistics, which lie in a file of their own."""
    return {our_name(name): value for name, value in published.items()}


def arguments(config: Any) -> dict[str, Any]:
    """`AdaINVC` arguments of a published `config` (the whole YAML file, or a fixture's: both hold a model part).

    Raises:
        UserError: settings are missing, or their published behavior was never released (spectral norm, other
            activations).
    """
    whole = settings_of(config, (), "AdaIN-VC: its config.yaml")
    parts = settings_of(whole.get("model", whole), (), "AdaIN-VC: its model")
    speaker, content, decoder = (
        settings_of(parts.get(name), needed, f"AdaIN-VC: its {name}") for name, needed in _NEEDED.items()
    )
    for name, part in zip(_NEEDED, (speaker, content, decoder), strict=True):
        if part.get("act", "relu") != "relu" or part.get("sn", False):
            raise UserError(f"{name}: expected act: relu and sn: false, as every published checkpoint has")
    size = {"channels": decoder["c_h"], "kernel": decoder["kernel_size"], "dropout": float(decoder["dropout_rate"])}
    return {
        "n_features": speaker["c_in"],
        "speaker_encoder": _encoder(speaker) | {"dense_blocks": speaker["n_dense_blocks"]},
        "content_encoder": _encoder(content),
        "decoder": size | {"blocks": decoder["n_conv_blocks"], "upsample": tuple(decoder["upsample"])},
    }


def _encoder(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "channels": part["c_h"], "out": part["c_out"], "kernel": part["kernel_size"], "bank": part["bank_size"],
        "bank_step": part["bank_scale"], "bank_channels": part["c_bank"], "subsample": tuple(part["subsample"]),
        "dropout": float(part["dropout_rate"]),
    }  # fmt: skip


def load_state(model: AdaINVC, published: Mapping[str, Tensor]) -> None:
    """Copy published weights into `model`; a name or shape that does not fit is a `UserError`."""
    statistics = {name: value for name, value in model.state_dict().items() if name.startswith("standardizer.")}
    load_renamed(model, our_state(published) | statistics, "AdaIN-VC")


def read_statistics(path: Path) -> dict[str, np.ndarray]:
    """`mean` and `std` (F,) of an `attr.pkl`, by an unpickler that calls nothing of numpy and keeps bytes and names."""
    with refused(path, "file of AdaIN-VC's statistics (a pickled dict with mean and std)"):
        program = read_small(path)
        require_bounded(program)
        values = _ArrayUnpickler(io.BytesIO(program)).load()
        found = {key: _numbers(values[key]) for key in ("mean", "std")}
        for key, value in found.items():
            require_finite(key, torch.from_numpy(value))
        if found["mean"].shape != found["std"].shape or found["std"].min() < 0 or not found["std"].any():
            raise UserError(
                f"{found['mean'].size} means, {found['std'].size} deviations from {found['std'].min():g} to "
                f"{found['std'].max():g}: expected as many, above 0"
            )
        return found


def _numbers(value: Any) -> np.ndarray:
    if isinstance(value, _Buffer):
        raw, kind, shape = value.arguments[:3]
    else:
        _version, shape, kind, _fortran, raw = value.state
    name, order = kind.arguments[0], kind.state[1] if kind.state else "<"
    if name not in ("f4", "f8") or order not in "<>=|" or len(shape) != 1:
        raise UserError(f"statistics of {name} {shape}: expected one row of f4 or f8 numbers")
    numbers = np.frombuffer(raw, order.replace("|", "=") + name)
    if numbers.shape != tuple(shape):
        raise UserError(f"statistics of {list(shape)} channels with {numbers.size} numbers: get the file anew")
    return numbers.astype(np.float32)


class _Array:
    """Stands for a numpy function or object in a pickle: keeps what it was given, does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments: tuple[Any, ...] = arguments
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Buffer(_Array):
    """`numpy.core.numeric._frombuffer(bytes, dtype, shape, order)`, as newer pickles have it."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _ARRAY_PARTS.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise UserError(f"asks for {module}.{name}: only numpy arrays are accepted, nothing was run")
        return known


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin1")  # the only encoding that numpy writes


_ARRAY_PARTS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array, ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Array, ("_codecs", "encode"): _latin1,
}  # fmt: skip
