"""Published speech2speech weights (github.com/bithikajain/speech2speech, MIT) in our network."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from revoice.errors import UserError
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
    for pattern, replacement in _RENAMES:
        published = re.sub(pattern, replacement, published)
    return published


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


def load_state(model: Speech2Speech, published: Mapping[str, Tensor]) -> None:
    """Copy published weights into `model`; a name or shape that does not fit is a `UserError`."""
    renamed = {our_name(name): tensor for name, tensor in published.items()}
    own = dict(model.named_parameters())
    for name in sorted(own.keys() ^ renamed.keys()):
        where = "checkpoint" if name in renamed else "configured network"
        raise UserError(f"speech2speech weights do not fit: '{name}' is only in the {where}")
    for name, tensor in own.items():
        if tensor.shape != renamed[name].shape:
            found, expected = list(renamed[name].shape), list(tensor.shape)
            raise UserError(f"speech2speech weights do not fit: {name} is {found}, expected {expected}")
        tensor.data.copy_(renamed[name])
