"""AdaIN-VC as its authors save it: `NAME.ckpt`, `NAME.config.yaml` (or config.yaml) and `attr.pkl`."""

from pathlib import Path

import torch

from revoice.audio.presets import load_preset
from revoice.errors import UserError
from revoice.interop.adain_vc import arguments, our_state, read_statistics
from revoice.interop.importers import IMPORTERS, Imported, beside, published_file
from revoice.interop.published import build_model, read_weights
from revoice.models.base import Standardizer
from revoice.untrusted import LARGEST, plain, read_yaml, refused

TRIM_DB = 15.0  # of the published preparation


@IMPORTERS.register("adain_vc")
class PublishedAdaINVC:
    """The network must speak as many mels as the published preset `adain_24k` unless its config says otherwise."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """Weights, sizes and statistics."""
        published_file(path)
        described = config or beside(path, "config.yaml", "config")
        with refused(described, "config.yaml of a published AdaIN-VC"):
            given = arguments(plain(read_yaml(described), "config.yaml", LARGEST))
        with refused(path, "state_dict of plain tensors"):
            found = read_weights(path, ["state_dict", "model"], "the plain state_dict that AdaIN-VC's authors save")
        known = read_statistics(statistics or beside(path, "attr.pkl", "statistics"))
        mean, std = torch.from_numpy(known["mean"]), torch.from_numpy(known["std"])
        if mean.shape != (given["n_features"],):
            raise UserError(
                f"statistics of {len(mean)} channels for a network of {given['n_features']}: "
                "give statistics=attr.pkl of this model"
            )
        standardizer = Standardizer(len(mean))
        standardizer.set(mean, std)
        state = our_state(found.state) | {f"standardizer.{n}": v for n, v in standardizer.state_dict().items()}
        model = build_model("adain_vc", given, state, path, described)
        spec = load_preset("adain_24k")
        if spec.channels != given["n_features"]:
            spec = type(spec).from_dict(spec.to_dict() | {"mels": given["n_features"]})
        return Imported(model=model, name="adain_vc", arguments=given, spec=spec, trim_db=TRIM_DB, half=found.half)
