"""Recognition-synthesis: what a recognizer's encoder hears, through a narrow neck, said again in another voice.

The idea is that of phonetic posteriorgrams (Sun et al., ICME 2016) and of later systems on soft speech units (van
Niekerk et al., arXiv:2111.02392); the voice comes from a speaker embedding and the sound of reference clips.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.data.read.batch import Batch
from revoice.models.base import (
    MODELS,
    Coder,
    Matching,
    PitchControls,
    Requires,
    Sampler,
    Standardizer,
    TonedControls,
    pooled,
    require_frames,
)  # fmt: skip
from revoice.models.recsyn.codes import EVERY, contour, levels, melody
from revoice.models.recsyn.parts import Decoder, DecoderSize, Neck, NeckSize, VoiceEncoder
from revoice.nn.adain import instance_norm
from revoice.nn.content import EncoderSettings, RecognizedContent, encoder
from revoice.nn.degrade import degraded
from revoice.nn.masked import masked_l1
from revoice.nn.pitch import at_levels_of
from revoice.nn.speech_codes import SpeechCodes
from revoice.nn.voice_match import judged, neighbors
from revoice.settings import Count, Flag, Frames, Place, Width

SHORTEST = 16  # frames; statistics over time need some


@MODELS.register("recsyn")
class RecSyn(Matching, Coder):
    """Any voice to any voice, by recognition and synthesis.

    The training loss is the L1 distance of the reconstruction. Content is read from a stored field, which the frozen
    encoder made of whole utterances.

    With `tune` the encoder hears the crops themselves, in rooms, by telephone, with others who speak, and learns too;
    the loss `distill` then holds it to the stored content of its teacher (L1, both without mean and deviation over
    time). It may be a shortened teacher, `content.layers` fewer, or a convolutional student that begins anew.

    With `match` every crop is also said in the voice of another item. The loss `voice` asks the speaker encoder whether
    it sounds like that one, and not like its own; the loss `words` asks the content encoder whether it says the same
    (L1, as `distill`). What is trained so is flattered by judges that are these encoders.

    Args:
        n_features: feature channels F.
        sample_rate, hop: of the features.
        content: the encoder's `name`, "whisper" or "convolutional", and sizes, see `WhisperSize`, `ConvEncoderSize`.
        content_from: checkpoint that the encoder's weights and sizes come from; only looked at where training starts.
            With `init_from`, which brings an encoder, it is the teacher that makes the stored content.
        neck: `NeckSize`.  decoder: `DecoderSize` settings.
        tune: train the encoder too.
        match: compute the losses `voice` and `words`.
        frames: training crop.  reference_frames: of another utterance of the speaker, which tells the voice.
        sampler: "uniform" over utterances or "by_speaker".
    """

    Controls = TonedControls
    stands_on = ("whisper", "resemblyzer")
    may_change = ("content", "tune", "match", "frames", "reference_frames", "sampler")

    def __init__(
        self,
        n_features: Width,
        sample_rate: Count,
        hop: Count,
        *,
        content: EncoderSettings | None = None,
        content_from: Place | None = None,
        neck: NeckSize | None = None,
        decoder: DecoderSize | None = None,
        tune: Flag = False,
        match: Flag = False,
        frames: Frames = 128,
        reference_frames: Frames = 256,
        sampler: Sampler = "uniform",
    ) -> None:
        super().__init__()
        narrow, size = neck or NeckSize(), decoder or DecoderSize()
        require_frames(SHORTEST, frames=frames, reference_frames=reference_frames)
        self.noise, self.tune, self.match = narrow.noise, tune, match
        self.requires = Requires(
            fields=("features", "f0", "embedding", "content", *(("waveform",) if tune else ())),
            frames=frames,
            minimum=SHORTEST,
            sampler=sampler,
            reference=reference_frames,
            analysis=("features", "f0", "embedding", "waveform"),
        )
        self.standardizer = Standardizer(n_features)
        self.content = RecognizedContent(encoder(content), sample_rate, hop)
        self.content.requires_grad_(tune)
        self.neck, self.neck_channels = Neck(self.content.channels, narrow), narrow.channels
        self.voice = VoiceEncoder(n_features, size.voice)
        self.decoder = Decoder(n_features, narrow.channels, size)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstruction and distillation, each a mean over the valid frames; the latter is 0 without `tune`."""
        x = self.standardizer(batch.features)
        assert batch.f0 is not None and batch.embedding is not None
        assert batch.reference is not None and batch.content is not None
        zero = x.new_zeros(())
        content, distill = batch.content, zero
        if self.tune:
            assert batch.waveform is not None
            heard = batch.waveform
            if batch.draws is not None:
                heard = degraded(heard, self.content.sample_rate, batch.draws)
            content = self.content(heard, x.shape[-1])
            distill = masked_l1(instance_norm(content), instance_norm(batch.content), batch.lengths)
        code = self.neck(content)
        if batch.draws is not None and self.noise:
            code = code + self.noise * batch.draws.normal("code", *code.shape[1:], device=code.device)
        voice = self.voice(batch.embedding, self.standardizer(batch.reference))
        y = self.decoder(code, batch.f0, voice)
        judged = self._judged(code, voice, content, batch) if self.match else {"voice": zero, "words": zero}
        with torch.autocast(x.device.type, enabled=False):
            return {"reconstruction": masked_l1(y.float(), x, batch.lengths), "distill": distill, **judged}

    def _judged(self, code: Tensor, voice: Tensor, content: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Every code said in the voice of its neighbor in the batch, at that one's pitch: whose voice, which words?"""
        assert batch.f0 is not None and batch.embedding is not None
        assert self.spec is not None, "set_features comes before training"
        other = neighbors(len(batch), code.device)
        f0 = at_levels_of(batch.f0, other)
        features = self.standardizer.inverse(self.decoder(code, f0, voice[other]).float())
        theirs = batch.embedding[other]
        return judged(features, content.detach(), batch.lengths, theirs, batch.embedding, self.spec, self.content)

    @torch.no_grad()
    def convert(self, source: Batch, targets: list[Batch], controls: PitchControls) -> Tensor:
        """Features (B, F, T) of what the sources say in the voice of the target clips."""
        assert source.waveform is not None and source.f0 is not None
        frames = source.features.shape[-1]
        size = max(frames, SHORTEST)
        code = self.neck(self.content(source.waveform, size))
        voice = self.told_by(targets)
        if controls.strength != 1.0:
            assert source.embedding is not None
            voice = torch.lerp(self._voice(source.embedding, source.features), voice, controls.strength)
        f0 = self.pitch(source, targets, controls)
        assert f0 is not None
        y = self.decoder(code, F.pad(f0, (0, size - frames)), voice.expand(len(code), -1))
        return self.standardizer.inverse(y)[..., :frames]

    def pitch(self, source: Batch, targets: list[Batch], controls: PitchControls) -> Tensor | None:
        """The sources' contours (B, T) at the targets' level, as the controls say."""
        return self.steered_pitch(source, targets, controls)

    @property
    def code_widths(self) -> dict[str, int]:
        """The neck's, with voicing and the level of the pitch; no rhythm; the melody above that level."""
        return {"content": self.neck_channels + 2, "rhythm": 0, "pitch": 1}

    @property
    def code_frames(self) -> dict[str, int]:
        """One of what is said for every frame."""
        return {"content": 1, "rhythm": EVERY, "pitch": EVERY}

    def codes(self, batch: Batch, without: str = "") -> SpeechCodes:
        """What is said, frame by frame, and its melody in steps of some frames, see `recsyn.codes`."""
        assert batch.f0 is not None
        frames = batch.features.shape[-1]
        size = max(frames, SHORTEST)
        f0 = F.pad(batch.f0 * (without != "pitch"), (0, size - frames))
        if without == "content":
            code = f0.new_zeros(len(f0), self.neck_channels, size)
        else:
            assert batch.waveform is not None
            code = self.neck(self.content(batch.waveform, size))
        level = levels(f0, batch.level)
        told = torch.stack([(f0 > 0).to(code.dtype), level[:, None].expand(-1, size).to(code.dtype)], dim=1)
        pitch = melody(f0, level)
        content = torch.cat([code, told], dim=1).transpose(1, 2)
        return SpeechCodes(content, pitch[..., :0], pitch, frames)

    def speak(self, codes: SpeechCodes, voice: Tensor) -> Tensor:
        """Features (B, F, T) of codes and of what `told` gave."""
        code = codes.content[..., : self.neck_channels].transpose(1, 2)
        f0 = self._contour(codes)
        made = self.standardizer.inverse(self.decoder(code, f0, voice))
        return made if codes.frames >= SHORTEST else made[..., : codes.frames]

    def contour(self, codes: SpeechCodes) -> Tensor:
        """The melody at its level, in the frames that the codes say are voiced."""
        return self._contour(codes)[:, : codes.frames]

    def _contour(self, codes: SpeechCodes) -> Tensor:
        voiced, level = codes.content[..., -2], codes.content[:, 0, -1]
        return contour(codes.pitch, level, voiced)

    def told(self, batch: Batch) -> Tensor:
        """Voice codes (B, D)."""
        assert batch.embedding is not None
        return self._voice(batch.embedding, batch.features)

    def told_by(self, clips: list[Batch]) -> Tensor:
        """The voice code (1, D) of all that is heard of a voice."""
        embeddings = [clip.embedding for clip in clips if clip.embedding is not None]
        embedding = pooled(embeddings, clips)
        return self._voice(embedding, torch.cat([clip.features for clip in clips], dim=-1))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """z-score with these per-channel statistics (F,)."""
        self.standardizer.set(mean, std)

    def _voice(self, embedding: Tensor, features: Tensor) -> Tensor:
        """Embeddings (B, 256) of any length and features (B, F, R) -> voice codes (B, D)."""
        return self.voice(F.normalize(embedding, dim=1), self.standardizer(features))
