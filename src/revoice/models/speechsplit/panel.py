"""The bottleneck panel: zero what one encoder hears, and see what is gone (SpeechSplit, appendix B.4).

Right bottlenecks show a diagonal: without the rhythm encoder's input only the timing goes, without the pitch encoder's
only the melody. Here it is told by cepstra of the mels alone, cheap enough for every validation; `evaluate.py
evaluation=aspects` measures the same by recognizers, pitch trackers and speaker encoders on what is heard.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from revoice.nn.speech_codes import SpeechCodes

MEASURES = ("timbre", "pitch", "content", "timing")
ENCODERS = ("content", "rhythm", "pitch")
LEFT_OUT = (*ENCODERS, "voice")
MEASURED = tuple(f"lost/{measure}/without_{name}" for name in LEFT_OUT for measure in MEASURES)
_ENVELOPE, _FINE = 14, (18, 40)  # cepstral coefficients of the spectral envelope, and of the harmonics under it


def aspects_apart(mel: Tensor, other: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """How far two mels (B, F, T) are apart in each aspect, 0 for the same and about 1 for unlike ones; means over B.

    Timbre is the mean spectral envelope; content how the envelope moves around it; pitch the fine structure of the
    spectrum, where harmonics are; timing the loudness contour. But for timbre, 1 - correlation over time.
    """
    there = (torch.arange(mel.shape[-1], device=mel.device) < lengths[:, None])[:, None]
    ours, theirs = (_cepstra(each[..., : there.shape[-1]]) for each in (mel, other))
    envelope = [each[:, 1:_ENVELOPE] for each in (ours, theirs)]
    count = there.sum(-1, keepdim=True).clamp(min=1)
    means = [(each * there).sum(-1, keepdim=True) / count for each in envelope]
    moves = [((each - mean) * there).square().sum((1, 2)) for each, mean in zip(envelope, means, strict=True)]
    scale = (moves[0] / count[:, 0, 0]).sqrt().clamp(min=1e-4)
    fine = [each[:, slice(*_FINE)] for each in (ours, theirs)]
    return {
        "timbre": ((means[0] - means[1]).square().sum((1, 2)).sqrt() / scale).mean(),
        "pitch": _unlike(fine[0], fine[1], there),
        "content": _unlike(envelope[0], envelope[1], there),
        "timing": _unlike(ours[:, :1], theirs[:, :1], there),
    }


def measured(
    mel: Tensor,
    lengths: Tensor,
    codes: SpeechCodes,
    silenced: Mapping[str, SpeechCodes],
    voice: Tensor,
    speak: Callable[[SpeechCodes, Tensor], Tensor],
) -> dict[str, Tensor]:
    """What is lost by silencing each encoder, and by telling no voice: `MEASURED`, differences of `aspects_apart`.

    No voice is zeros, as what silenced encoders hear, and no mean: a validation batch may be of one speaker alone.

    Args:
        mel: (B, F, T) as it was.  lengths: (B,).
        codes: of it.  silenced: those where one encoder, by name, heard nothing.
        voice: (B, D), whose it is.
        speak: makes mels of codes and voices.
    """
    mel = mel[..., : codes.frames]
    whole = aspects_apart(mel, speak(codes, voice), lengths)
    found: dict[str, Tensor] = {}
    for name in LEFT_OUT:
        rebuilt = speak(codes, torch.zeros_like(voice)) if name == "voice" else speak(silenced[name], voice)
        apart = aspects_apart(mel, rebuilt, lengths)
        found |= {f"lost/{measure}/without_{name}": apart[measure] - whole[measure] for measure in MEASURES}
    return found


def _cepstra(mel: Tensor) -> Tensor:
    """(B, F, T) -> (B, F, T), a cosine transform over the bands."""
    bands = mel.shape[1]
    k = torch.arange(bands, device=mel.device)
    basis = torch.cos(torch.pi / bands * k[:, None] * (k + 0.5))
    return torch.einsum("kf,bft->bkt", basis / bands, mel.float())


def _unlike(a: Tensor, b: Tensor, there: Tensor) -> Tensor:
    """1 - correlation over rows and valid frames, each row without its mean; 1 where one of them does not move."""
    count = there.sum(-1, keepdim=True).clamp(min=1)
    x, y = ((each - (each * there).sum(-1, keepdim=True) / count) * there for each in (a, b))
    product = (x * y).sum((1, 2)) / ((x.square().sum((1, 2)) * y.square().sum((1, 2))).sqrt() + 1e-9)
    return (1 - product).mean()
