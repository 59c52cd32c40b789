"""ZeroSpeech as its author saves it: `model.ckpt-500000.pt`, of which the encoder and the codebook are taken."""

from pathlib import Path

import torch

from revoice.audio.presets import load_preset
from revoice.errors import UserError
from revoice.interop.importers import IMPORTERS, Imported, published_file
from revoice.interop.published import build_model, read_weights
from revoice.interop.zerospeech import arguments, our_state
from revoice.untrusted import refused


@IMPORTERS.register("zerospeech")
class PublishedZeroSpeech:
    """The published decoder makes samples one by one and is left behind; the sizes are those of the weights."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """Encoder and codes."""
        if config or statistics:
            raise UserError("kind=zerospeech takes neither config nor statistics: its sizes are those of its weights")
        published_file(path)
        with refused(path, "ZeroSpeech"):
            found = read_weights(path, ["encoder", "state_dict"], "a ZeroSpeech, e.g. model.ckpt-500000.pt")
            given = arguments(found.state)
            state = our_state(found.state) | {"quantizer.started": torch.tensor(True)}
        spec = load_preset("zerospeech_16k")
        if spec.channels != given["n_features"]:
            spec = type(spec).from_dict(spec.to_dict() | {"mels": given["n_features"]})
        return Imported(
            model=build_model("zerospeech", given, state, path), name="zerospeech", arguments=given, spec=spec,
            data={"origin": "ZeroSpeech (van Niekerk et al., arXiv:2005.09409)"}, half=found.half,
            use="it encodes and lacks a decoder: python train.py model=vqvae_zerospeech init_from={out}",
        )  # fmt: skip
