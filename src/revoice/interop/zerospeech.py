"""Published ZeroSpeech weights (github.com/bshall/ZeroSpeech): the encoder and the codebook."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from revoice.errors import UserError
from revoice.interop.published import renamed

_LAYER = re.compile(r"^encoder\.(\d+)\.(.*)")
_CODES = (
    (r"^codebook\.embedding$", "quantizer.codebook"),
    (r"^codebook\.ema_count$", "quantizer.counts"),
    (r"^codebook\.ema_weight$", "quantizer.sums"),
)
_LEFT_OUT = ("jitter.prob",)


def our_name(published: str, layers: int = 5) -> str:
    """Our name for a published one, of an encoder of so many convolutions.

    >>> our_name("encoder.6.weight"), our_name("encoder.7.running_mean"), our_name("encoder.15.bias")
    ('encoder.convs.2.weight', 'encoder.norms.2.running_mean', 'encoder.out.bias')
    """
    found = _LAYER.match(published)
    if found is None:
        return renamed(published, _CODES)
    number, rest = int(found[1]), found[2]
    if number == 3 * layers:  # each convolution, its norm and a rectifier
        return f"encoder.out.{rest}"
    return f"encoder.{('convs', 'norms', 'rectifiers')[number % 3]}.{number // 3}.{rest}"


def arguments(published: Mapping[str, Tensor]) -> dict[str, Any]:
    """`ZeroSpeech` arguments that the shapes of published weights tell.

    Raises:
        UserError: they are of something else.
    """
    convs = {int(m[1]): value for name, value in published.items() if (m := _LAYER.match(name)) and value.ndim == 3}
    codebook = published.get("codebook.embedding")
    if codebook is None or codebook.ndim != 2 or len(convs) < 2:
        raise UserError("no encoder and codebook of ZeroSpeech in it")
    *layers, _last = [convs[number] for number in sorted(convs)]
    size, dim = codebook.shape
    return {
        "n_features": layers[0].shape[1],
        "encoder": {"channels": len(layers[0]), "strides": [layer.shape[2] - 2 for layer in layers], "norm": "batch"},
        "quantizer": {
            "codebook_size": size, "dim": dim, "learn": "ema", "decay": 0.999, "init": "uniform", "restart": 0.0,
            "jitter": 0.5,
        },
    }  # fmt: skip


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by our names."""
    layers = sum(value.ndim == 3 for name, value in published.items() if _LAYER.match(name)) - 1
    return {our_name(name, layers): value for name, value in published.items() if name not in _LEFT_OUT}
