"""Anonymizers (`revoice.audio.anonymization`) as a model: no training, no target voice."""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from revoice.audio.anonymization import ANONYMIZERS
from revoice.audio.anonymizers.world import DEFAULT
from revoice.audio.features import extract
from revoice.audio.presets import load_preset
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel, Requires
from revoice.settings import Count, Given, Width


@MODELS.register("anonymizer")
class AnonymizerModel(ConversionModel):
    """Hides who speaks by signal processing, each recording by draws of its own.

    Its features are those of `complex_16k`, at any rate, which go back to the waveform without a vocoder.

    Args:
        n_features, sample_rate, hop: of the features.
        by: `name` of the anonymizer and its settings; None is `world` with the combination chosen in docs/privacy.md.
    """

    trained: ClassVar[bool] = False
    together: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = True
    hides: ClassVar[bool] = True
    preset: ClassVar[str] = "complex_16k"
    scales: ClassVar[tuple[str, ...]] = ("linear",)
    target = "none"

    def __init__(self, n_features: Width, sample_rate: Count, hop: Count, by: Given | None = None) -> None:
        super().__init__()
        self.spec = replace(load_preset(self.preset), sample_rate=sample_rate)
        if (self.spec.channels, self.spec.hop) != (n_features, hop):
            raise UserError(f"model anonymizer takes the features {self.preset}: leave features= out")
        self.anonymizer = ANONYMIZERS.build(
            *ANONYMIZERS.named(DEFAULT if by is None else by, "model.by"), what="model.by"
        )
        self.requires = Requires(fields=("features", "waveform"), frames=1, minimum=1)

    def convert(self, source: Batch, targets: list[Batch], controls: Any) -> Tensor:
        """Features (B, F, T) of the items of `source`, anonymized one by one; draws are tied to their ids, if any."""
        assert source.waveform is not None
        waveforms = zip(source.waveform, source.id, strict=True)
        return torch.stack([self._anonymized(waveform, key) for waveform, key in waveforms])

    def _anonymized(self, waveform: Tensor, key: str) -> Tensor:
        made = self.anonymizer(waveform.cpu().numpy(), self.spec.sample_rate, key or None)
        return extract(torch.from_numpy(made).to(waveform.device), self.spec)
