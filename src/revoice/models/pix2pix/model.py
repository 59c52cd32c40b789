"""The model: an anonymized spectrogram in, that of the one voice it has learned out."""

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS, Controls, ConversionModel, Requires
from revoice.models.pix2pix.layout import DECIBEL, Layout
from revoice.models.pix2pix.resnet import MULTIPLE, ResNetUNet
from revoice.models.pix2pix.unet import LiteralUNet, SmallUNet
from revoice.settings import Count, Flag, Frames, FramesOrNone, Whole, Width, Word, settings
from revoice.trainable import Play

Channels = Annotated[Whole, Field(ge=1, le=3)]
Iterations = Annotated[Whole, Field(ge=0, le=1 << 16)]
Phase = Literal["rebuilt", "regressed"]


@settings
class PhaseControls(Controls):
    """Where phases come from.

    Attributes:
        phase: "rebuilt" from the magnitudes by Griffin-Lim, which starts at those of the anonymized source, or
            "regressed", the network's own, as published. None: rebuilt, and the network's own where it is `faithful`.
        iterations: of Griffin-Lim.
    """

    phase: Phase | None = None
    iterations: Iterations = 32


@MODELS.register("pix2pix")
class Pix2Pix(ConversionModel):
    """A U-Net learns anonymized -> original on clips of one voice; whoever is anonymized alike gets that voice.

    Conversion asks for no target: the voice is the checkpoint's. The source is anonymized by the stored field
    `paired:ANONYMIZER`, with the settings that its training had.

    Args:
        n_features, sample_rate, hop: of the features: magnitudes above phases (`stft_16k`, or a longer transform).
        anonymizer: name of the one that made the other side of each pair; its settings are the field's
            (`data.prepare.fields.paired`).
        generator: "resnet" (Anonymous-VC's), "literal" (VoicePix2Pix's) or "small", which learns a correction.
        channels: 1 magnitude, 2 also phase, 3 also a channel of zeros, as a network made for RGB had it.
        widths: of the resolutions of "small".
        frames: length of crops.  minimum: shorter utterances are left out.
        faithful: the faults of the published code: crops end in loud frames, inversion has no Nyquist row and is out of
            tune, and the literal generator learns the other direction, original -> anonymized.
    """

    target = "none"
    hides: ClassVar[bool] = True
    together: ClassVar[bool] = False  # one clip of pictures fills a CPU's cache
    preset: ClassVar[str] = "stft_16k1024"
    measured: ClassVar[tuple[str, ...]] = ("distance", "distance_before")
    Controls = PhaseControls

    def __init__(
        self,
        n_features: Width,
        sample_rate: Count = 16000,
        hop: Count = 256,
        *,
        anonymizer: Word = "cepstrum",
        generator: Literal["small", "literal", "resnet"] = "small",
        channels: Channels = 1,
        widths: Annotated[tuple[Width, ...], Field(min_length=2, max_length=6)] = (32, 64, 96, 128),
        frames: Frames = 64,
        minimum: FramesOrNone = 16,
        faithful: Flag = False,
    ) -> None:
        super().__init__()
        if n_features % 2:
            raise UserError(f"model=pix2pix takes features with phases, not {n_features} rows: features=stft_16k1024")
        self.layout = Layout(n_features // 2, sample_rate, hop)
        self.channels, self.faithful = channels, faithful
        self.reversed = faithful and generator == "literal"
        if faithful and channels == 1:
            raise UserError("model.faithful=true inverts the network's own phases: set model.channels=2 or 3")
        self.network: nn.Module
        if generator == "small":
            self.network = SmallUNet(channels, channels, widths)
            self.multiple = self.network.multiple
        elif generator == "literal":
            self.network, self.multiple = LiteralUNet(channels, channels), LiteralUNet.multiple
        else:
            self.network, self.multiple = ResNetUNet(channels, channels), MULTIPLE
        if self.layout.rows < self.multiple:
            raise UserError(
                f"model.generator={generator} halves {self.multiple.bit_length() - 1} times, features have "
                f"{self.layout.rows} rows: type features=stft_16k or features=stft_16k1024"
            )
        self.paired = f"paired:{anonymizer}"
        self.requires = Requires(
            fields=("features", self.paired, "f0"),  # whose level sources are moved to
            frames=frames, minimum=min(minimum, frames), analysis=("features", self.paired),
        )  # fmt: skip

    def set_features(self, spec: FeatureSpec) -> None:
        """Refuse features that are laid out otherwise."""
        self.layout.spec.require_match(spec, "model pix2pix", "features=")

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, R, T), any T -> (B, C, R, T)."""
        whole = self.layout.padded(image, self.multiple, self.faithful)
        return self.network(whole)[..., : image.shape[-1]]

    def play(self, batch: Batch, part: str = "model") -> Play:
        """L1 over all channels; critics see pictures (B, C, R, T), beside those that they were made from."""
        given, real = self._pair(batch)
        fake = self(given)
        return Play({"reconstruction": (fake.float() - real).abs().mean()}, fake=fake, real=real, given=given)

    def stored(self, batch: Batch) -> Play:
        """What an earlier model said of the same crops, as pictures: the features of its conversion.

        Not what the network made: phases are rebuilt, what they do not fit is gone, and the clip was anonymized
        anew by the middle of its settings, which is none of the stored copies that `given` is drawn from.
        """
        assert batch.generated is not None
        given, real = self._pair(batch)
        return Play({}, fake=self.layout.image(batch.generated, self.channels), real=real, given=given)

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """Mean difference of log magnitudes to the recording in dB, of what is made and of what it is made from."""
        given, real = self._pair(batch)
        far = [(image[:, 0].float() - real[:, 0]).abs().mean() / DECIBEL for image in (self(given), given)]
        return dict(zip(self.measured, far, strict=True))

    def _pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The anonymized pictures, one copy of each drawn from those stored, and the original ones."""
        assert batch.paired is not None
        high = 2 * self.layout.rows
        copies = batch.paired.unflatten(1, (-1, high))  # (B, N, 2 R, T)
        chosen = torch.zeros(len(copies), dtype=torch.long, device=copies.device)
        if batch.draws is not None:
            chosen = batch.draws.integers("copy", copies.shape[1], device=copies.device)
        paired = copies[torch.arange(len(copies), device=copies.device), chosen]
        pair = [self.layout.image(each, self.channels) for each in (paired, batch.features)]
        return (pair[1], pair[0]) if self.reversed else (pair[0], pair[1])

    def convert(self, source: Batch, targets: list[Batch], controls: Any) -> Tensor:
        """Features (B, 2 R, T) of what the anonymized items of `source` say, in the checkpoint's voice."""
        assert source.paired is not None
        given = source.features if self.reversed else source.paired[:, : 2 * self.layout.rows]
        made = self(self.layout.image(given, self.channels)).float()
        phase = controls.phase or ("regressed" if self.faithful else "rebuilt")
        if phase == "rebuilt":
            return self.layout.rebuilt(made[:, 0], given[:, self.layout.rows :], controls.iterations)
        if self.channels == 1:
            raise UserError("phase=regressed: this checkpoint has magnitudes alone (model.channels=1): phase=rebuilt")
        if self.faithful:
            return self.layout.without_nyquist(made[:, 0], made[:, 1])
        return torch.cat([made[:, 0].clamp(0.0, 1.0), made[:, 1]], dim=1)
