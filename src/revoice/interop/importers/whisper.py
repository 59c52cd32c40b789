"""Whisper's encoder as OpenAI, Hugging Face and CTranslate2 publish it, for models that stand on it."""

import importlib.util
import os
from pathlib import Path

from revoice.audio.presets import load_preset
from revoice.errors import UserError
from revoice.interop.importers import IMPORTERS, Imported, published_file
from revoice.interop.whisper import published_encoder
from revoice.models.whisper import Whisper

_FILES = ("model.bin", "model.safetensors")  # in a folder: CTranslate2's, Hugging Face's
_EXPECTED = "a file of Whisper (.pt, .safetensors, model.bin), or a folder or an installed package that holds model.bin"


@IMPORTERS.register("whisper")
class PublishedWhisper:
    """Takes a file, a folder, or the name of an installed package."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The encoder of a published Whisper; the sizes are read off the shapes of its weights."""
        if config or statistics:
            raise UserError("kind=whisper takes neither config nor statistics: its sizes are those of its weights")
        encoder = published_encoder(_find(path))
        spec, mels = load_preset(Whisper.preset), encoder.arguments["n_features"]
        if spec.channels != mels:  # large-v3 hears 128
            spec = type(spec).from_dict(spec.to_dict() | {"mels": mels})
        origin = "encoder of Whisper (OpenAI, arXiv:2212.04356)"
        if encoder.stored.startswith("int"):
            origin += f", from weights quantized to {encoder.stored}"
        return Imported(
            model=encoder.model, name=encoder.model.name, arguments=dict(encoder.arguments), spec=spec, trim_db=None,
            data={"origin": origin, "license": "MIT, Copyright (c) 2022 OpenAI"}, half=encoder.stored == "float16",
            use="it converts nothing, models stand on it: python train.py model=recsyn model.content_from={out}",
        )  # fmt: skip


def _find(path: Path) -> Path:
    """The file behind `path=`."""
    folder = path if os.path.isdir(path) else _package(str(path))
    if folder is None or os.path.isfile(path):
        return published_file(path, _EXPECTED)
    for name in _FILES:
        found = sorted(place for place in (folder / name, *folder.glob(f"*/{name}")) if place.is_file())
        if len(found) > 1:
            raise UserError(f"{folder} holds {found[0]} and {found[1]}: give one of them as path=")
        if found:
            return found[0]
    raise UserError(f"{folder}: no {' or '.join(_FILES)} in this folder: give {_EXPECTED}")


def _package(name: str) -> Path | None:
    """The folder of an installed package, none of which is imported."""
    if not name.isidentifier():
        return None
    try:
        found = importlib.util.find_spec(name)
    except ValueError:  # a module that is no file
        return None
    places = list(found.submodule_search_locations or []) if found else []
    return Path(places[0]) if places else None
