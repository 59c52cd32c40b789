"""Pix2Pix's network on features, magnitudes above phases; anonymizing comes before it, rebuilding phases behind it."""

import torch
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.interop.onnx.graph import Graph
from revoice.models.pix2pix.layout import filled
from revoice.models.pix2pix.model import Pix2Pix
from revoice.nn.conv import fitted


class _Network(nn.Module):
    """The network, frames filled up to a multiple as `Layout.padded` does, by an index that knows no length."""

    def __init__(self, model: Pix2Pix) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        """(1, 2 R, T) -> (1, 2 R, T); a network of magnitudes alone leaves the phases as they are given."""
        layout, channels, frames = self.model.layout, self.model.channels, features.shape[2]
        image = layout.image(features, channels)
        beyond = layout.padded(image[..., :1], self.model.multiple, self.model.faithful)[..., 1:2]  # one frame of it
        multiple = filled(self.model.multiple, self.model.faithful)
        more = multiple if self.model.faithful else multiple - 1  # faithful: never none
        size = (frames + more) // multiple * multiple
        place = torch.arange(size)
        whole = torch.where(place < frames, fitted(image.flatten(1, 2), size).unflatten(1, image.shape[1:3]), beyond)
        made = fitted(self.model.network(whole).flatten(1, 2), frames).unflatten(1, image.shape[1:3])
        phases = features[:, layout.rows :] if channels == 1 else made[:, 1]
        return torch.cat([made[:, 0].clamp(0, 1), phases], dim=1)


class _Convert(nn.Module):
    """What the model itself makes of the same."""

    def __init__(self, model: Pix2Pix) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        made = self.model(self.model.layout.image(features, self.model.channels))
        phases = features[:, self.model.layout.rows :] if self.model.channels == 1 else made[:, 1]
        return torch.cat([made[:, 0].clamp(0, 1), phases], dim=1)


def pix2pix_graph(model: Pix2Pix, spec: FeatureSpec) -> Graph:
    """The graph of a network that undoes an anonymizer, or, published as the literal one, does it."""
    name = "source_features" if model.reversed else "anonymized_features"
    shapes = {name: (1, spec.channels, ("source_frames", 1))}
    facts = {"phases": "as given" if model.channels == 1 else "made"}
    return Graph(_Network(model), shapes, "features", _Convert(model), facts=facts)
