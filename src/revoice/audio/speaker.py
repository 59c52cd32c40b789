"""Resemblyzer's GE2E speaker embedding (Wan et al., 2018), batched: the weights are the package's, the code is ours."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from revoice.audio.features import FeatureExtractor
from revoice.audio.io import Audio, resample
from revoice.audio.spec import FeatureSpec
from revoice.audio.vad import drop_silence
from revoice.errors import UserError
from revoice.untrusted import read_torch, refused

SAMPLE_RATE = 16000
EMBEDDING = 256

ENCODER_SPEC = FeatureSpec(  # librosa's default power mel, without logarithm
    sample_rate=SAMPLE_RATE, n_fft=400, hop=160, win=400, pad_mode="constant", power=2, mels=40, scale="linear"
)
PARTIAL = 160  # frames of one partial utterance
STEP = 77  # frames between partials: 1.3 per second
COVERAGE = 0.75  # a last partial with less audio than this is dropped
TARGET_DB = -30.0  # full scale; what is quieter is raised to it
_CHUNK_PARTIALS = 128  # in one LSTM call
_CHUNK_SAMPLES = 1 << 22  # in one mel call


class SpeakerEncoder(nn.Module):
    """Clips -> 256 numbers that say who speaks. The cosine of two embeddings is their similarity.

    Equal to `resemblyzer.VoiceEncoder.embed_utterance(preprocess_wav(...))` to about 1e-6, for any number of clips
    at once.

    Args:
        weights: a checkpoint in Resemblyzer's format; None takes the one inside the installed package.
        vad: drop long silences first, as Resemblyzer does (needs webrtcvad).
    """

    def __init__(self, weights: str | Path | None = None, vad: bool = True) -> None:
        super().__init__()
        self.vad = vad
        self.mel = FeatureExtractor(ENCODER_SPEC)
        self.lstm = nn.LSTM(ENCODER_SPEC.mels, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, EMBEDDING)
        self.load_state_dict(_weights(Path(weights) if weights else _packaged_weights()))
        self.requires_grad_(False).eval()
        self.lstm.train()  # nothing in it differs, but cuDNN gives gradients in this mode alone

    def forward(self, mels: Tensor) -> Tensor:
        """Partial utterances (N, T, 40) of power mels -> unit vectors (N, 256); differentiable."""
        _, (hidden, _) = self.lstm(mels)
        return unit(torch.relu(self.linear(hidden[-1])))

    @torch.no_grad()
    def embed(self, clips: Sequence[Audio | np.ndarray]) -> Tensor:
        """Embeddings (N, 256) float32 on the CPU, one per clip, each of length 1.

        Args:
            clips: recordings of any rate, or arrays (S,) at 16 kHz.
        """
        prepared = [self.preprocess(*_samples_of(clip)) for clip in clips]
        found = torch.zeros(len(clips), EMBEDDING)
        for group in _groups(prepared):
            found[group] = self._embed_group([prepared[i] for i in group])
        return found

    def mean_embedding(self, clips: Sequence[Audio | np.ndarray]) -> Tensor:
        """One embedding (256,) of a speaker: the mean over clips, of length 1."""
        if not clips:
            raise UserError("a speaker embedding needs at least one clip")
        return unit(self.embed(clips).mean(0))

    def preprocess(self, samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
        """(S,) at any rate -> 16 kHz, not quieter than -30 dBFS, without long silences."""
        samples = np.asarray(samples, dtype=np.float32)
        wanted = -(-len(samples) * SAMPLE_RATE // sample_rate)
        samples = _fit(resample(samples, sample_rate, SAMPLE_RATE), wanted)
        level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
        if 0.0 < level < 10 ** (TARGET_DB / 20):
            samples = samples * np.float32(10 ** (TARGET_DB / 20) / level)
        return drop_silence(samples, SAMPLE_RATE) if self.vad else samples

    def _embed_group(self, clips: list[np.ndarray]) -> Tensor:
        """Embeddings (N, 256) of preprocessed clips of like length: one mel call, all partials in few LSTM calls."""
        starts = [partial_starts(len(samples)) for samples in clips]
        size = max(max(len(c), (s[-1] + PARTIAL) * ENCODER_SPEC.hop) for c, s in zip(clips, starts, strict=True))
        batch = torch.from_numpy(np.stack([_fit(samples, size) for samples in clips])).to(self.linear.weight.device)
        mels = self.mel(batch).transpose(1, 2)
        partials = torch.cat([mels[row].unfold(0, PARTIAL, STEP)[: len(s)] for row, s in enumerate(starts)]).mT
        embedded = torch.cat([self(chunk) for chunk in partials.split(_CHUNK_PARTIALS)]).cpu()
        return unit(torch.stack([own.mean(0) for own in embedded.split([len(s) for s in starts])]))


def partial_starts(samples: int) -> list[int]:
    """First mel frames of the partial utterances of a clip; at least one.

    >>> partial_starts(48000)
    [0, 77, 154]
    """
    frames = -(-(samples + 1) // ENCODER_SPEC.hop)
    starts = list(range(0, max(1, frames - PARTIAL + STEP + 1), STEP))
    coverage = (samples - starts[-1] * ENCODER_SPEC.hop) / (PARTIAL * ENCODER_SPEC.hop)
    return starts[:-1] if coverage < COVERAGE and len(starts) > 1 else starts


def speaker_encoder(device: str = "cpu", vad: bool = True) -> SpeakerEncoder:
    """A shared encoder on `device`, loaded once."""
    return _shared(device, vad)


@lru_cache(maxsize=4)
def _shared(device: str, vad: bool) -> SpeakerEncoder:
    with torch.inference_mode(False):  # whoever asks first: gradients may flow through it later
        return SpeakerEncoder(vad=vad).to(device)


def _samples_of(clip: Audio | np.ndarray) -> tuple[np.ndarray, int]:
    return (clip.samples, clip.sample_rate) if isinstance(clip, Audio) else (clip, SAMPLE_RATE)


def _fit(samples: np.ndarray, size: int) -> np.ndarray:
    return samples[:size] if len(samples) >= size else np.pad(samples, (0, size - len(samples)))


def unit(vectors: Tensor) -> Tensor:
    """(..., D), each of length 1; zeros stay."""
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def _groups(clips: list[np.ndarray]) -> Iterator[list[int]]:
    """Indices in groups of like length, each at most `_CHUNK_SAMPLES` when padded to its longest."""
    group: list[int] = []
    for i in sorted(range(len(clips)), key=lambda i: len(clips[i])):
        if group and len(clips[i]) * (len(group) + 1) > _CHUNK_SAMPLES:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _packaged_weights() -> Path:
    """The file inside the installed `resemblyzer`, found without importing it (that takes seconds)."""
    package = find_spec("resemblyzer")
    folders = list(package.submodule_search_locations or []) if package else []
    if not folders:
        raise UserError("speaker embeddings need the weights of the package resemblyzer: pip install resemblyzer")
    return Path(folders[0]) / "pretrained.pt"


def _weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"no speaker encoder weights at {path}: pip install --force-reinstall resemblyzer")
    with refused(path, "file of Resemblyzer's weights"):
        state = read_torch(path, legacy=True)["model_state"]
        return {name: value for name, value in state.items() if not name.startswith("similarity_")}
