"""Voices to hide behind: for each source speaker another one, from a pool of recordings or drawn by a network.

As in the VoicePrivacy Challenge's first baseline (Fang et al., "Speaker anonymization using x-vector and neural
waveform models", SSW 2019) a pseudo-voice is far from the speaker. It is one voice of the pool, not a mean of many: so
it goes with any model that takes a recording, whether it makes embeddings of it or not.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import realpath
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from revoice.audio.io import Audio, AudioError, read_audio
from revoice.audio.speaker import EMBEDDING, speaker_encoder
from revoice.audio.trim import read_speech
from revoice.conversion.outputs import Target
from revoice.data.config import build
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.settings import Number, Place, Seed, settings

EMBEDDED = {  # which of espeak-ng's voices are the pool where none is given, and how much they speak
    "sentences": 8, "test_sentences": 2, "per_voice": 6, "tested_voices": 0, "max_voices": 64,
}  # fmt: skip
CLIPS = 4  # of a voice, at most, that are heard and given to the model
Vectors = NDArray[np.float32]


@settings
class PseudoVoices:
    """Which voice stands for which speaker.

    Attributes:
        per: what has a voice of its own: each "speaker", each "utterance", or "all" together.
        pool: a folder with one subfolder per voice, or a CSV as `data=folder` reads it; None: voices of espeak-ng.
        far: of the pool, the share farthest from the speaker, from which one is drawn.
        seed: another one draws other voices.
        ckpt: of a VoiceGAN, for voice=sample.  gender: "female" or "male" of those; None draws either.
    """

    per: Literal["speaker", "utterance", "all"] = "speaker"
    pool: Place | None = None
    far: Annotated[Number, Field(gt=0, le=1)] = 0.5
    seed: Seed = 0
    ckpt: Place | None = None
    gender: Literal["female", "male"] | None = None


@dataclass(frozen=True)
class PoolVoice:
    """A voice of the pool: recordings, and the mean of their embeddings (D,), of length 1."""

    name: str
    clips: list[Path]
    vector: Vectors


@dataclass(frozen=True)
class Pool:
    """Voices to choose from."""

    voices: list[PoolVoice]

    @cached_property
    def vectors(self) -> Vectors:
        """(N, D)."""
        return np.stack([voice.vector for voice in self.voices])

    def far_from(self, speaker: Vectors, share: float) -> list[PoolVoice]:
        """The share of the pool that is farthest from a voice (D,), by the cosine, the farthest first."""
        order = np.argsort(self.vectors @ speaker, kind="stable")
        return [self.voices[int(row)] for row in order[: max(1, round(share * len(order)))]]

    def nearest(self, vector: Vectors) -> PoolVoice:
        """The voice most like an embedding (D,)."""
        return self.voices[int(np.argmax(self.vectors @ vector))]


def drawn(key: str) -> float:
    """A number from 0 to 1 (exclusive) that a text decides, the same on every machine.

    >>> drawn("a") == drawn("a"), 0 <= drawn("b") < 1
    (True, True)
    """
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:6], "big") / 2**48


def open_pool(
    pool: Path | None,
    data_dir: Path = Path("data"),
    device: str = "cpu",
    hear: Callable[[Path], object] = read_speech,
) -> Pool:
    """The pool in a folder; without one, voices of espeak-ng, spoken into `data_dir` at the first use.

    Args:
        pool: the folder.
        data_dir: see above.
        device: that embeds.
        hear: what every recording must go through, see `audible`.

    Raises:
        UserError: the folder holds no two voices that can be heard.
    """
    if pool is None:
        config: dict[str, Any] = {"name": "synthetic", "root": data_dir / "synthetic", "corpus": EMBEDDED}
    else:
        config = {"name": "folder", "root": pool, "corpus": {}}
    return pool_of(build({**config, "splits": {}}).manifest(), device, hear)


def pool_of(manifest: Manifest, device: str = "cpu", hear: Callable[[Path], object] = read_speech) -> Pool:
    """All voices of a corpus with their first recordings; broken and silent ones are passed over."""
    by_name: dict[str, list[Path]] = {}
    for row in manifest:
        by_name.setdefault(row.speaker, []).append(manifest.file(row))
    voices = []
    for name, files in by_name.items():
        if clips := audible(files, hear):
            voices.append(PoolVoice(name, [*clips], embedding_of([*clips.values()], device)))
    if len(voices) < 2:
        raise UserError(
            f"voices.pool: {manifest.root} has {len(voices)} voices that can be heard, expected two at least, each in "
            "a subfolder of its own"
        )
    return Pool(voices)


def audible(files: Sequence[Path], hear: Callable[[Path], object] | None = None) -> dict[Path, Audio]:
    """The first recordings of a voice in which something is heard, `CLIPS` at most, and what is in their first 10 s.

    Args:
        files: recordings.
        hear: reads a whole one as a model will, and refuses it by `AudioError`; None: only the first 10 s count.
    """
    found: dict[Path, Audio] = {}
    for file in files:
        if len(found) == CLIPS:
            break
        try:
            clip, _ = read_speech(read_audio(file, 16000, seconds=10.0))
            if hear:
                hear(file)
        except AudioError:
            continue
        found[file] = clip
    return found


def embedding_of(clips: Sequence[Audio], device: str = "cpu") -> Vectors:
    """The mean embedding (D,) of a voice, of length 1; zeros without a clip, which nothing is far from."""
    return speaker_encoder(device).mean_embedding(clips).numpy() if clips else np.zeros(EMBEDDING, np.float32)


def speaker_of(file: Path, base: Path) -> Path:
    """The folder of whose recording it is: the first below the one that was given; that one if it lies there itself.

    >>> speaker_of(Path("/in/ann/2024/a.wav"), Path("/in")).name, speaker_of(Path("/in/a.wav"), Path("/in")).name
    ('ann', 'in')
    """
    below, whole = file.relative_to(base).parts, Path(realpath(base))
    return whole / below[0] if len(below) > 1 else whole


def names_of(paths: Mapping[Path, int]) -> dict[Path, str]:
    """Paths by their last parts, `paths[...]` of them at least and as many as tell them apart.

    A name decides what is drawn, and is the same wherever the recordings lie.

    >>> list(names_of({Path("/x/ann/wav"): 1, Path("/x/bob/wav"): 1, Path("/x/cleo"): 1}).values())
    ['ann/wav', 'bob/wav', 'cleo']
    """
    while True:
        names = {path: "/".join(path.parts[-count:]) for path, count in paths.items()}
        often = Counter(names.values())
        if len(often) == len(names):
            return names
        paths = {path: count + (often[names[path]] > 1) for path, count in paths.items()}


class Hiding:
    """Chooses a voice for every speaker, which he keeps; nobody else has it while there are others that he may have.

    Args:
        how: the settings.
        pool: of voices; None for a model that speaks with the voices of a table.
        table: names of these.
        sampler: a network with `sample(gender, seed)`, which draws embeddings; None: voices are those of the pool.
    """

    def __init__(
        self, how: PseudoVoices, pool: Pool | None = None, table: Sequence[str] = (), sampler: Any = None
    ) -> None:
        assert pool or table
        self.how, self.pool, self.table, self.sampler = how, pool, [*table], sampler
        self._given: dict[tuple[str, str], Target] = {}  # by who draws, and for whom
        self._taken: Counter[tuple[str, str]] = Counter()  # by who draws, and the name of the voice

    def in_turn(self, names: Collection[str]) -> list[str]:
        """Names in the order in which they are to ask `behind`, so that it matters not in which they were found."""
        return sorted(names, key=lambda name: (drawn(f"{self.how.seed}/turn/{name}"), name))

    def behind(self, who: str, vector: Callable[[], Vectors], by: str = "", own: Collection[str] = ()) -> Target:
        """The voice for a speaker, or for whatever else is to have one.

        Args:
            who: its name, which decides what is drawn.
            vector: gives its embedding (D,), where that is asked for.
            by: who draws: another one draws otherwise.
            own: the speakers that it is, whose voices in a table or a pool hide nobody.

        Raises:
            UserError: there are only these.
        """
        if (by, who) not in self._given:
            self._given[by, who] = self._chosen(who, vector, by, own)
        return self._given[by, who]

    def _chosen(self, who: str, vector: Callable[[], Vectors], by: str, own: Collection[str]) -> Target:
        key = f"{self.how.seed}/{by}/{who}"
        if self.pool is None:
            names = [name for name in self.table if name not in own]
            if not names:
                raise UserError(
                    f"voice=pseudo: all voices of the model's table are those of who is to be hidden, {', '.join(own)}"
                )
            return self._free([Target([Path(name)], name) for name in names], key, by)
        if self.sampler is not None:
            return self._sampled(self.pool, key)
        far = [voice for voice in self.pool.far_from(vector(), self.how.far) if voice.name not in own]
        if not far:
            raise UserError(
                f"voice=pseudo: the voices to choose from are those of who is to be hidden, {', '.join(own)}: expected "
                "others in voices.pool, or more of them by voices.far"
            )
        return self._free([Target(voice.clips, voice.name) for voice in far], key, by)

    def _free(self, voices: list[Target], key: str, by: str) -> Target:
        """The drawn one, or, where others have it, the next that fewer have."""
        first = int(drawn(key) * len(voices))
        found = min(voices[first:] + voices[:first], key=lambda voice: self._taken[by, voice.label])
        self._taken[by, found.label] += 1
        return found

    def _sampled(self, pool: Pool, key: str) -> Target:
        """An embedding that nobody has, and the recordings of the voice in the pool that is most like it."""
        gender = self.how.gender or ("female", "male")[int(2 * drawn(f"{key}/gender"))]
        seed = int(drawn(key) * 2**31)
        vector = torch.nn.functional.normalize(self.sampler.sample(gender, seed).reshape(-1).cpu(), dim=0)
        return Target(pool.nearest(vector.numpy()).clips, f"{gender}{seed}", vector)


def speakers_in(files: Mapping[Path, Path], per: str) -> dict[str, list[Path]]:
    """Sources by what is to have a voice of its own; folders of one name at two places are two speakers.

    Args:
        files: each with the folder that it was found in.
        per: see `PseudoVoices`.
    """
    if per == "all":
        return {"all": [*files]}
    if per == "speaker":
        paths = {file: (speaker_of(file, base), 1) for file, base in files.items()}
    else:
        below = {file: file.relative_to(base) for file, base in files.items()}
        paths = {file: (Path(realpath(base)) / below[file], len(below[file].parts)) for file, base in files.items()}
    names, found = names_of(dict(paths.values())), dict[str, list[Path]]()
    for file, (path, _) in paths.items():
        found.setdefault(names[path], []).append(file)
    return found
