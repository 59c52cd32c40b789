"""SpeechSplit as its authors publish it: the generator `660000-G.ckpt`, the F0 converter `640000-P.ckpt`, or both."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import spec_facts
from revoice.checkpoint.fit import require_fit, sketch
from revoice.errors import UserError
from revoice.interop.importers import IMPORTERS, Imported, published_file
from revoice.interop.published import read_weights
from revoice.interop.speechsplit import is_generator, load_part, our_state, sizes
from revoice.models.base import MODELS
from revoice.models.speechsplit import SpeechSplit
from revoice.models.speechsplit.model import GENERATOR, PITCH
from revoice.nn.voice_code import EMBEDDING
from revoice.untrusted import refused

_NAMES = {GENERATOR: "generator (660000-G.ckpt)", PITCH: "F0 converter (640000-P.ckpt)"}
_LOST = {
    GENERATOR: "it converts nothing, train a generator beside it (init_from={out})",
    PITCH: "aspects=[pitch] and the pitch of aspects=[rhythm] need timing=aligned",
}


@IMPORTERS.register("speechsplit")
class PublishedSpeechSplit:
    """Takes one of the two files, or a folder that holds both."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The parts that are there, in a model of their sizes."""
        if config or statistics:
            raise UserError("kind=speechsplit takes neither config nor statistics: its sizes are those of its weights")
        parts: dict[str, tuple[Path, dict[str, Tensor], dict[str, Any]]] = {}
        half = True
        for file in _files(path):
            with refused(file, "SpeechSplit's generator or F0 converter"):
                weights = read_weights(file, ["model"], "660000-G.ckpt or 640000-P.ckpt")
                state, half = weights.state, half and weights.half
                name = GENERATOR if is_generator(state) else PITCH
                if name in parts:
                    raise UserError(f"{path} holds the {_NAMES[name]} twice: give the file")
                parts[name] = (file, state, sizes(state))
        missing = next((name for name in _NAMES if name not in parts), "")
        spec = load_preset(SpeechSplit.preset)
        channels = next(iter(parts.values()))[2]["features"]
        if spec.channels != channels:
            spec = FeatureSpec.from_dict(spec.to_dict() | {"mels": channels})
        found = {name: each for name, (_, _, each) in parts.items()}
        given = {**spec_facts(spec), **_arguments(found), "lacks": missing}
        with refused(path, "SpeechSplit's generator and F0 converter of equal sizes"):
            outline: Any = sketch(lambda: MODELS.build("speechsplit", given), 10_000)
            for name, (file, state, _) in parts.items():
                require_fit(outline.parts()[name].state_dict(), our_state(state), f"SpeechSplit ({file})")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a part that is missing is drawn: equal files give an equal file
            model = MODELS.build("speechsplit", given)
        for name, (_, state, _) in parts.items():
            load_part(model.parts()[name], state)
        lost = f"it lacks the {_NAMES[missing]}: {_LOST[missing]}" if missing else ""
        use = "convert with: python convert.py ckpt={out} src=a.wav "
        if given["n_speakers"]:
            use += f"tgt=0 (its voices are the rows of its table, 0 to {given['n_speakers'] - 1})"
        else:
            use += "tgt=b.wav aspects=[rhythm,pitch,timbre]"
        return Imported(
            model=model.eval(), name="speechsplit", arguments=given, spec=spec, half=half,
            speakers=[str(row) for row in range(given["n_speakers"])],
            data={"origin": "SpeechSplit (Qian et al., arXiv:2004.11284)", "license": "MIT"},
            use=lost if missing == GENERATOR else "; ".join(filter(None, [lost, use])),
        )  # fmt: skip


def _files(path: Path) -> list[Path]:
    if not os.path.isdir(path):
        return [published_file(path, "660000-G.ckpt, 640000-P.ckpt or a folder that holds both")]
    found = sorted(file for end in ("G", "P") for file in path.glob(f"*-{end}.ckpt"))
    if not found:
        raise UserError(f"{path}: no NUMBER-G.ckpt or NUMBER-P.ckpt in this folder")
    return found


def _arguments(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of `SpeechSplit`, from the sizes of one part or of both."""
    encoders: dict[str, Any] = {}
    for each in found.values():
        encoders |= {name: dict(vars(size)) for name, size in each["encoders"].items()}
    given: dict[str, Any] = {"encoders": encoders, "voice": "embedding", "n_speakers": 0}
    if GENERATOR in found:
        given["decoder"] = dict(vars(found[GENERATOR]["decoder"]))
        if found[GENERATOR]["voice"] != EMBEDDING:
            given |= {"voice": "speaker", "n_speakers": found[GENERATOR]["voice"]}
    if PITCH in found:
        given["converter"] = dict(vars(found[PITCH]["decoder"]))
    return given
