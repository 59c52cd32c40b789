"""Vocos as its authors publish and train it: a state_dict or Lightning's checkpoint, and its `config.yaml`."""

from pathlib import Path

from revoice.errors import UserError
from revoice.interop.importers import IMPORTERS, Imported, beside, published_file, speaks
from revoice.interop.published import build_vocoder, read_weights
from revoice.interop.vocos import arguments, features_of, our_state, parts
from revoice.untrusted import plain, read_yaml, refused


@IMPORTERS.register("vocos")
class PublishedVocos:
    """Takes those that hear log-mels. One with a table of normalizations speaks in its first row."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The network; critics and losses that a checkpoint of training also holds are passed over."""
        if statistics is not None:
            raise UserError("kind=vocos takes no statistics: its features are not standardized")
        published_file(path)
        described = config or beside(path, "config.yaml", "config")
        with refused(described, "config.yaml of a published Vocos"):
            settings = parts(plain(read_yaml(described), "config.yaml"))
            spec, given = features_of(settings), arguments(settings)
        with refused(path, "state_dict of plain tensors"):
            found = read_weights(path, ["state_dict"], "the pytorch_model.bin or a Lightning checkpoint of Vocos")
            state = our_state(found.state)
        model = build_vocoder("vocos", given, spec, state, path, described)
        rows = given["rows"]
        row = f"its normalizations have {rows} rows, it speaks in the first; " if rows else ""
        return Imported(
            model=model, kind="vocoder", name="vocos", arguments=given, spec=spec, half=found.half,
            data={"origin": "Vocos (Siuzdak, arXiv:2306.00814)"}, use=row + speaks(spec),
        )  # fmt: skip
