"""What encoders hear in features that a network makes, with gradients: whose voice it is, and what is said."""

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.audio.speaker import ENCODER_SPEC, speaker_encoder
from revoice.audio.spec import FeatureSpec
from revoice.nn.adain import instance_norm
from revoice.nn.content import RecognizedContent, encoder
from revoice.nn.masked import masked_l1
from revoice.nn.remel import remel
from revoice.untrusted import read_safetensors

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "voice.safetensors"

_LEAST_POWER = 10 ** (-30 / 10)  # of samples: the encoder is given nothing quieter


def neighbors(items: int, device: torch.device) -> Tensor:
    """Which item's voice each item (N,) of a batch is said in: pairs change places, an odd last one takes the first's.

    >>> neighbors(5, torch.device("cpu")).tolist()
    [1, 0, 3, 2, 0]
    """
    other = torch.arange(items, device=device) ^ 1
    return other.masked_fill(other == items, 0)


@lru_cache(maxsize=4)
def word_encoder(sample_rate: int, hop: int, device: str) -> RecognizedContent:
    """What the converter that ships hears words with, loaded once; its weights do not learn."""
    _, tensors = read_safetensors(WEIGHTS, "revoice")
    with torch.inference_mode(False):  # whoever asks first: gradients may flow through it later
        network = RecognizedContent(encoder(None), sample_rate, hop)
        own = {name.removeprefix("content."): value for name, value in tensors.items() if name.startswith("content.")}
        network.load_state_dict({name: value.float() for name, value in own.items()})
        return network.requires_grad_(False).eval().to(device)


def judged(
    said: Tensor, wanted: Tensor, lengths: Tensor, theirs: Tensor, own: Tensor, spec: FeatureSpec,
    ear: RecognizedContent,
) -> dict[str, Tensor]:  # fmt: skip
    """The losses of features that are said in other voices.

    Args:
        said: log-mels (B, F, T).
        wanted: what the ear hears in the crops themselves (B, D, T).
        lengths: valid frames (B,).
        theirs, own: embeddings (B, 256) of the voices that are asked for, and of those of the crops.
        spec: of the features.  ear: hears the words.

    Returns:
        `voice`: `voice_mismatch`.  `words`: L1 of what the ear hears, without mean and deviation over time.
    """
    heard, wanted = instance_norm(ear.of_mels(said, spec)), instance_norm(wanted)
    return {"voice": voice_mismatch(said, theirs, own, spec), "words": masked_l1(heard, wanted, lengths)}


def judged_by_default(
    said: Tensor, features: Tensor, lengths: Tensor, embedding: Tensor, every: int, spec: FeatureSpec
) -> dict[str, Tensor]:
    """The losses of one in so many crops of a batch, said in the voices of `neighbors`; what ships hears the words.

    Args:
        said: log-mels of the crops 0, `every`, 2 `every` ... in those voices.
        features, lengths, embedding: of the batch, see `Batch`.
    """
    some, theirs = slice(None, None, every), embedding[neighbors(len(embedding), embedding.device)]
    ear = word_encoder(spec.sample_rate, spec.hop, str(said.device))
    with torch.no_grad():
        wanted = ear.of_mels(features[some].float(), spec)
    return judged(said.float(), wanted, lengths[some], theirs[some], embedding[some], spec, ear)


def voice_of(features: Tensor, spec: FeatureSpec) -> Tensor:
    """Speaker embeddings (B, 256), of length 1, of log-mel features (B, F, T)."""
    with torch.autocast(features.device.type, enabled=False):
        mels, power = remel(features, spec, ENCODER_SPEC)
        louder = (_LEAST_POWER / power.clamp(min=1e-12)).clamp(min=1.0)
        return speaker_encoder(str(features.device))((mels * louder[:, None, None]).transpose(1, 2))


def voice_mismatch(features: Tensor, target: Tensor, source: Tensor, spec: FeatureSpec) -> Tensor:
    """1 - cosine to the target voices (B, 256), and how much nearer to the sources (B, 256) than the targets are."""
    with torch.autocast(features.device.type, enabled=False):
        voice, target, source = voice_of(features, spec), target.float(), source.float()
        left = F.cosine_similarity(voice, source) - F.cosine_similarity(target, source)
        return (1 - F.cosine_similarity(voice, target) + left.clamp(min=0)).mean()
