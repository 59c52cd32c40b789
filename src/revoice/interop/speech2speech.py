"""Published speech2speech weights (github.com/bithikajain/speech2speech, MIT) in our network."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.fit import require_fit
from revoice.errors import UserError
from revoice.interop.published import renamed
from revoice.models.speech2speech import Speech2Speech

_RENAMES = (
    (r"^_pre_vq_conv\.", "encoder.out."),
    (r"^_vq_vae\._embedding\.weight$", "quantizer.codebook"),
    (r"^_decoder\._embedding\.", "voice.layer."),
    (r"^_(encoder|decoder)\.", r"\1."),
    (r"\._conv_trans_(\d+)\.", r".transposed\1."),
    (r"\._conv_(\d+)\.", r".conv\1."),
    (r"\._residual_stack\._layers\.(\d+)\._block\.1\.", r".residual.wide.\1."),
    (r"\._residual_stack\._layers\.(\d+)\._block\.3\.", r".residual.narrow.\1."),
)


def our_name(published: str) -> str:
    """Our parameter name for a published one.

    >>> our_name("_decoder._residual_stack._layers.1._block.3.weight"), our_name("_vq_vae._embedding.weight")
    ('decoder.residual.narrow.1.weight', 'quantizer.codebook')
    """
    return renamed(published, _RENAMES)


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """`Speech2Speech` arguments of published settings; `decay` was accepted upstream and ignored."""
    return {
        "n_features": config["n_bins"],
        "n_speakers": len(config["speaker_dic"]),
        "channels": config["num_hiddens"],
        "residual_channels": config["num_residual_hiddens"],
        "residual_layers": config["num_residual_layers"],
        "quantizer": {
            "codebook_size": config["num_embeddings"], "dim": config["embedding_dim"], "learn": "loss",
            "init": "uniform", "restart": 0.0,
        },
        "voice_dim": config["speaker_embedding_dim"],
        "legacy": True,
    }  # fmt: skip


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The published settings that the shapes of weights by our names tell; rows of the table stand for speakers.

    Raises:
        UserError: they are of something else.
    """
    try:
        wide = state["encoder.residual.wide.0.weight"]
        return {
            "n_bins": state["encoder.conv1.weight"].shape[1],
            "speaker_dic": {str(row): row for row in range(len(state["voice.layer.weight"]))},
            "num_hiddens": wide.shape[1],
            "num_residual_hiddens": wide.shape[0],
            "num_residual_layers": sum(name.startswith("encoder.residual.wide.") for name in state),
            "num_embeddings": len(state["quantizer.codebook"]),
            "embedding_dim": state["quantizer.codebook"].shape[1],
            "speaker_embedding_dim": state["voice.layer.weight"].shape[1],
        }
    except (KeyError, IndexError) as error:
        raise UserError(f"no weights of speech2speech in it: {error.args[0]} is not there as expected") from error


def features_of(bins: int) -> FeatureSpec:
    """The spectrograms of its two published sets: 1025 bins are linear (A), others in dB (B)."""
    spec = load_preset("linear_16k" if bins == 1025 else "db_16k384")
    if spec.channels == bins:
        return spec
    size = 2 * (bins - 1)
    return FeatureSpec.from_dict(spec.to_dict() | {"n_fft": size, "win": size, "hop": max(1, size // 4)})


def speakers_of(table: Any, rows: int) -> list[str]:
    """Names by the rows of the published `speaker_dic`, whose numbers are those of VCTK's speakers.

    >>> speakers_of({"226": 1, "225": "0"}, 2)
    ['p225', 'p226']

    Raises:
        UserError: rows that are missing or none, or two voices of one name.
    """
    if not isinstance(table, Mapping) or sorted(map(str, table.values())) != sorted(map(str, range(rows))):
        raise UserError(f"its speaker_dic is no table of {rows} speakers, a row for each from 0 on")
    names = [str(name) for name, _ in sorted(table.items(), key=lambda item: int(item[1]))]
    found = [f"p{name}" if name.isdigit() else name for name in names]
    name, count = Counter(found).most_common(1)[0]
    if count > 1:
        raise UserError(f"its speaker_dic has two voices named {name}: rename one of them")
    return found


def load_state(model: Speech2Speech, published: Mapping[str, Tensor]) -> None:
    """Copy published weights into `model`; a name or shape that does not fit is a `UserError`."""
    state, own = {our_name(name): value for name, value in published.items()}, dict(model.named_parameters())
    require_fit(own, state, "speech2speech")
    model.load_state_dict(state, strict=False)  # what the quantizer counts is not published
