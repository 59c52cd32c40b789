"""The networks of SpeechSplit (arXiv:2004.11284): encoders with narrow codes, generator G, pitch converter P."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.nn.convnext import ConvNeXtBlock, Film, films_of
from revoice.nn.pitch_classes import STEPS
from revoice.nn.speech_codes import SpeechCodes
from revoice.settings import Count, Depth, Flag, Fraction, Width, settings

GROUP = 16  # channels of a group that is normalized together


@settings
class EncoderSize:
    """Sizes of an encoder.

    Attributes:
        channels: of the convolutions, a multiple of 16.
        convolutions: how many, of kernel 5.
        hidden: of the LSTM over them in each direction, which is half the width of the code: the bottleneck.
        layers: of the LSTM.
        every: frames for which there is one step of the code.
        dropout: after each convolution.
    """

    channels: Width = 512
    convolutions: Depth = 3
    hidden: Width = 8
    layers: Depth = 2
    every: Count = 8
    dropout: Fraction = 0.0

    def __post_init__(self) -> None:
        if self.channels % GROUP:
            raise UserError(f"channels={self.channels}: expected a multiple of {GROUP}, which are normalized together")
        if self.every > 64:
            raise UserError(f"every={self.every}: expected 64 frames a step at most, about a second")


@settings
class Encoders:
    """Sizes of the three encoders; `rhythm` and `pitch` are those of the pitch converter too."""

    content: EncoderSize = EncoderSize()
    rhythm: EncoderSize = EncoderSize(channels=128, convolutions=1, hidden=1, layers=1)
    pitch: EncoderSize = EncoderSize(channels=256, hidden=32, layers=1)


@settings
class DecoderSize:
    """Sizes of a decoder.

    Attributes:
        kind: "lstm", bidirectional, as published; or "convolutional", which learns in fewer minutes but does not see
            further than some 100 frames: for content that keeps its timing.
        hidden: width of the LSTM in each direction, or of the ConvNeXt blocks.
        layers: how many.
        film: tell every block who speaks by factors and offsets of its channels (FiLM, arXiv:1709.07871), beside what
            goes in; of a convolutional G alone.
    """

    kind: Literal["lstm", "convolutional"] = "lstm"
    hidden: Width = 512
    layers: Depth = 3
    film: Flag = False

    def __post_init__(self) -> None:
        if self.film and self.kind != "convolutional":
            raise UserError(
                "model.decoder.film=true: an LSTM has no blocks to tell: take model.decoder.kind=convolutional"
            )


class Encoder(nn.Module):
    """Convolutions, normalized in groups, then a bidirectional LSTM of which some steps are the code."""

    def __init__(self, channels: int, size: EncoderSize) -> None:
        super().__init__()
        widths = [channels] + [size.channels] * size.convolutions
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in zip(widths, widths[1:], strict=False))
        self.norms = nn.ModuleList(nn.GroupNorm(size.channels // GROUP, size.channels) for _ in self.convs)
        self.lstm = nn.LSTM(size.channels, size.hidden, size.layers, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(size.dropout)
        self.every, self.width = size.every, 2 * size.hidden
        for conv in self.convs:
            assert isinstance(conv, nn.Conv1d)
            nn.init.xavier_uniform_(conv.weight, nn.init.calculate_gain("relu"))

    def forward(self, x: Tensor, resamplings: Sequence[Tensor] = ()) -> Tensor:
        """(B, C, T), T a multiple of `every` -> codes (B, T / every, width).

        Args:
            x: what is heard.
            resamplings: for each convolution a matrix (B, T, T) that what comes out of it is multiplied by; none in
                conversion, and none where the timing is to stay.
        """
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = self.dropout(norm(conv(x)).relu())
            if number < len(resamplings):
                x = torch.bmm(x, resamplings[number].to(x.dtype))
        states = self.lstm(x.transpose(1, 2))[0]
        forward, backward = states.chunk(2, dim=2)
        # of each block of `every` frames the state that has heard all of it: forward the last, backward the first
        return torch.cat([forward[:, self.every - 1 :: self.every], backward[:, :: self.every]], dim=2)


class Decoder(nn.Module):
    """A bidirectional LSTM, or convolutions, over codes held for as many frames as they stand for; a linear layer.

    Args:
        channels: C of what goes in.  out: of what comes out.  size: `DecoderSize`.
        voice: width of what tells every block the voice, if `size.film`.
    """

    def __init__(self, channels: int, out: int, size: DecoderSize, voice: int = 0) -> None:
        super().__init__()
        told = size.hidden if size.film else 0
        if size.kind == "lstm":
            self.lstm = nn.LSTM(channels, size.hidden, size.layers, batch_first=True, bidirectional=True)
        else:
            dilations = [2 ** (i % 3) for i in range(size.layers)]
            self.first = nn.Conv1d(channels, size.hidden, 7, padding=3)
            self.blocks = nn.ModuleList(ConvNeXtBlock(size.hidden, 3 * size.hidden, 7, d, told) for d in dilations)
            self.norm = nn.LayerNorm(size.hidden)
        self.voice = (
            nn.Sequential(nn.Linear(voice, told), nn.GELU(), nn.Linear(told, told), nn.GELU()) if told else None
        )
        self.kind = size.kind
        self.out = nn.Linear(2 * size.hidden if size.kind == "lstm" else size.hidden, out)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, x: Tensor, voice: Tensor | None = None) -> Tensor:
        """(B, T, C), what tells the voice (B, D), of length 1 -> (B, out, T)."""
        if self.kind == "lstm":
            return self.out(self.lstm(x)[0]).transpose(1, 2)
        h = self.first(x.transpose(1, 2))
        films: list[Film] | list[None] = [None] * len(self.blocks)
        if self.voice is not None and voice is not None:
            films = films_of(self.blocks, self.voice(voice * voice.shape[1] ** 0.5))
        for block, film in zip(self.blocks, films, strict=True):
            h = block(h, film)
        return self.out(self.norm(h.transpose(1, 2))).transpose(1, 2)


class Generator(nn.Module):
    """G: content, rhythm and pitch encoders, and a decoder that is told who speaks.

    Args:
        features: channels F of the mel.
        heard: channels of what the content encoder hears: F, or those of a recognizer's encoder.
        voice: width of what tells the voice.
    """

    def __init__(
        self, features: int, heard: int, voice: int, content: EncoderSize, rhythm: EncoderSize, pitch: EncoderSize,
        decoder: DecoderSize,
    ) -> None:  # fmt: skip
        super().__init__()
        self.content, self.rhythm = Encoder(heard, content), Encoder(features, rhythm)
        self.pitch = Encoder(STEPS + 1, pitch)
        width = self.content.width + self.rhythm.width + self.pitch.width + voice
        self.decoder = Decoder(width, features, decoder, voice)

    def encode(
        self, heard: Tensor, f0: Tensor, mel: Tensor, resamplings: Sequence[Tensor] = (), frames: int | None = None
    ) -> SpeechCodes:
        """The codes.

        Args:
            heard: (B, C, T), what tells the content: a mel, or what a recognizer's encoder made.
            f0: (B, 257, T) classes of pitch, one-hot.
            mel: (B, F, T), whose rhythm is taken.
            resamplings: (B, T, T) after each convolution, the same of content and pitch.
            frames: that are to be told of later; None: T.
        """
        return SpeechCodes(
            self.content(heard, resamplings), self.rhythm(mel), self.pitch(f0, resamplings), frames or mel.shape[-1]
        )

    def decode(self, codes: SpeechCodes, voice: Tensor) -> Tensor:
        """Codes and what tells the voice (B, D) -> mel (B, F, T), with all frames that the codes stand for."""
        pairs = ((codes.content, self.content), (codes.rhythm, self.rhythm), (codes.pitch, self.pitch))
        held = [hold(code, encoder.every) for code, encoder in pairs]
        frames = min(each.shape[1] for each in held)
        told = voice[:, None].expand(-1, frames, -1).to(held[0].dtype)
        return self.decoder(torch.cat([*(each[:, :frames] for each in held), told], dim=2), voice)


class PitchConverter(nn.Module):
    """P: the contour of one clip in the rhythm of another that says the same."""

    def __init__(self, features: int, rhythm: EncoderSize, pitch: EncoderSize, decoder: DecoderSize) -> None:
        super().__init__()
        if decoder.film:
            raise UserError("model.converter.film=true: the pitch converter is told no voice: leave it out")
        self.rhythm, self.pitch = Encoder(features, rhythm), Encoder(STEPS + 1, pitch)
        self.decoder = Decoder(self.rhythm.width + self.pitch.width, STEPS + 1, decoder)

    def encode(self, mel: Tensor, f0: Tensor, resamplings: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """Codes of the rhythm of a mel (B, F, T) and of the pitch in classes (B, 257, T), one-hot."""
        return self.rhythm(mel), self.pitch(f0, resamplings)

    def forward(self, mel: Tensor, f0: Tensor, resamplings: Sequence[Tensor] = ()) -> Tensor:
        """Logits (B, 257, T) over the classes of pitch."""
        rhythm, pitch = self.encode(mel, f0, resamplings)
        held = [hold(rhythm, self.rhythm.every), hold(pitch, self.pitch.every)]
        return self.decoder(torch.cat(held, dim=2))


def hold(codes: Tensor, every: int) -> Tensor:
    """(B, N, C) -> (B, N * every, C), each step held for as many frames as it stands for."""
    return codes.repeat_interleave(every, dim=1)
