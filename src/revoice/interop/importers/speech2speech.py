"""speech2speech as its programs save it: `checkpoint_state_dict_N.pth` or `checkpoint_model_N.pth`, and its config."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from revoice.errors import UserError
from revoice.foreign import parse_json
from revoice.interop.importers import IMPORTERS, Imported, published_file
from revoice.interop.published import build_model, read_weights, settings_of
from revoice.interop.speech2speech import arguments, features_of, our_name, sizes_of, speakers_of
from revoice.settings import Natural, checked
from revoice.untrusted import plain, read_small, refused

TRIM_DB = 30.0  # of the published corpus
_CONFIG = "model_config.json"


@IMPORTERS.register("speech2speech")
class PublishedSpeech2Speech:
    """Takes a state_dict or a whole pickled module, of which nothing is run; with the published stride of 1."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The network and the names of its voices: those of model_config.json, or the rows of its table."""
        if statistics is not None:
            raise UserError("kind=speech2speech takes no statistics: its features are not standardized")
        published_file(path)
        with refused(path, "speech2speech"):
            holders = ["state_dict", "model_state_dict", "model"]
            found = read_weights(
                path, holders, "a speech2speech, e.g. checkpoint_state_dict_10000.pth", ("speech2speech",)
            )
            state = {our_name(name): value for name, value in found.state.items()}
            sizes = sizes_of(state)
        described = config or (beside if (beside := path.with_name(_CONFIG)).is_file() else None)
        speakers, note = _speakers(described, sizes)
        given = arguments(sizes)
        counts = sizes["num_embeddings"]
        state |= {
            "quantizer.counts": state["quantizer.codebook"].new_ones(counts),
            "quantizer.sums": state["quantizer.codebook"].clone(),
            "quantizer.started": (state["quantizer.codebook"].new_ones(()) > 0),
        }
        model = build_model("speech2speech", given, state, path)
        return Imported(
            model=model, name="speech2speech", arguments=given, spec=features_of(sizes["n_bins"]), trim_db=TRIM_DB,
            speakers=speakers, data={"origin": "speech2speech (github.com/bithikajain/speech2speech)"}, half=found.half,
            use=f"{note}convert with: python convert.py ckpt={{out}} src=a.wav tgt={shlex.quote(speakers[0])}",
        )  # fmt: skip


def _speakers(described: Path | None, sizes: Mapping[str, Any]) -> tuple[list[str], str]:
    rows = len(sizes["speaker_dic"])
    if described is None:
        return [str(row) for row in range(rows)], f"no {_CONFIG} tells its voices, they are called 0 to {rows - 1}; "
    with refused(described, f"{_CONFIG} of a published speech2speech"):
        settings = settings_of(plain(parse_json(read_small(described)), _CONFIG), (), _CONFIG)
        for name, size in sizes.items():
            if name != "speaker_dic" and name in settings and checked(Natural, settings[name], name) != size:
                raise UserError(f"its {name} is {settings[name]}, that of the weights {size}")
        return speakers_of(settings.get("speaker_dic"), rows), ""
