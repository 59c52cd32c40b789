"""What was found out about a clip before, by the content of the clip: in files that hold numbers and text alone."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revoice.atomic import replacing
from revoice.audio.io import Audio
from revoice.data.corpora.manifest import Row
from revoice.evaluation.conversions import Request
from revoice.evaluation.recognition import Recognizer, Transcript
from revoice.evaluation.verification import Verifier
from revoice.foreign import parse_json
from revoice.version import __version__

Arrays = Mapping[str, NDArray[Any]]


class Cache:
    """A folder of arrays by key. What cannot be read is as if it were not there; killed writers leave nothing behind.

    Keys hold the version of revoice: another version computes anew. Within a version, whoever changes the code of a
    model or a metric must delete the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, kind: str, *key: object) -> dict[str, NDArray[Any]] | None:
        """The arrays of a key, None if there are none."""
        try:
            with np.load(self._file(kind, key), allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError, KeyError, EOFError):
            return None
        except Exception as error:  # a file that is no archive: zipfile and zlib have errors of their own
            if type(error).__module__ in ("zipfile", "zlib"):
                return None
            raise

    def put(self, arrays: Arrays, kind: str, *key: object) -> None:
        """Store arrays under a key."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        with replacing(self._file(kind, key)) as file:
            file.write(buffer.getvalue())

    def _file(self, kind: str, key: Sequence[object]) -> Path:
        name = hashlib.sha256(json.dumps([__version__, *map(str, key)]).encode()).hexdigest()
        return self.folder / kind / name[:2] / f"{name[2:40]}.npz"


def content(clip: Audio) -> str:
    """Hash of a clip's samples and rate."""
    samples = np.ascontiguousarray(clip.samples, dtype=np.float32)
    return hashlib.sha256(f"{clip.sample_rate}/".encode() + samples.tobytes()).hexdigest()


class RememberingVerifier(Verifier):
    """A verifier that embeds a clip once."""

    def __init__(self, verifier: Verifier, cache: Cache) -> None:
        self.verifier, self.cache = verifier, cache
        self.name, self.weights = verifier.name, verifier.weights  # type: ignore[misc]

    def embed(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """Embeddings (N, D), those that are not known together."""
        keys = [content(clip) for clip in clips]
        known = {key: self.cache.get("voices", self.name, self.weights, key) for key in dict.fromkeys(keys)}
        new = {key: clip for key, clip in zip(keys, clips, strict=True) if known[key] is None}
        for key, vector in zip(new, self.verifier.embed(list(new.values())) if new else [], strict=True):
            known[key] = {"voice": vector}
            self.cache.put({"voice": vector}, "voices", self.name, self.weights, key)
        return np.stack([found["voice"] for key in keys if (found := known[key]) is not None])


class RememberingRecognizer(Recognizer):
    """A recognizer that hears a clip once."""

    def __init__(self, recognizer: Recognizer, cache: Cache) -> None:
        self.recognizer, self.cache = recognizer, cache
        self.name, self.unit, self.weights = recognizer.name, recognizer.unit, recognizer.weights  # type: ignore[misc]
        self.stands_on = recognizer.stands_on
        self.known_error = recognizer.known_error
        self._key = (self.name, self.weights, getattr(recognizer, "language", ""), getattr(recognizer, "command", ""))

    def transcribe(self, clips: Sequence[Audio]) -> list[Transcript]:
        """What is heard, the clips that are not known together."""
        keys = [content(clip) for clip in clips]
        heard = {key: self._recall(key) for key in dict.fromkeys(keys)}
        new = {key: clip for key, clip in zip(keys, clips, strict=True) if heard[key] is None}
        for key, said in zip(new, self.recognizer.transcribe(list(new.values())) if new else [], strict=True):
            heard[key] = said
            text = json.dumps([list(said.tokens), said.text])
            self.cache.put({"heard": np.frombuffer(text.encode(), np.uint8)}, "heard", *self._key, key)
        return [found for key in keys if (found := heard[key]) is not None]

    def said(self, row: Row) -> Transcript | None:
        """See `Recognizer`."""
        return self.recognizer.said(row)

    def _recall(self, key: str) -> Transcript | None:
        found = self.cache.get("heard", *self._key, key)
        if found is None:
            return None
        try:
            tokens, text = parse_json(found["heard"].tobytes())
            return Transcript(tuple(map(str, tokens)), str(text))
        except (ValueError, TypeError, KeyError):
            return None


class Conversions:
    """The conversions of one system, by what it is and what it was asked. See `evaluate.Memory`.

    Args:
        cache: where they lie.
        system: all that decides what it says: checkpoint, vocoder, adaptation, controls.
    """

    def __init__(self, cache: Cache, system: Mapping[str, Any]) -> None:
        self.cache, self.system = cache, json.dumps(system, sort_keys=True, default=str)
        self._hashes: dict[int, tuple[Audio, str]] = {}  # by the identity of clips, which it keeps alive

    def recall(self, request: Request) -> tuple[Audio, float] | None:
        """The conversion and the seconds that it took; None if it is not known."""
        found = self.cache.get("said", *self._key(request))
        if found is None or not {"samples", "rate", "seconds"} <= found.keys():
            return None
        return Audio(found["samples"].astype(np.float32), int(found["rate"])), float(found["seconds"])

    def keep(self, request: Request, said: Audio, seconds: float) -> None:
        """Remember a conversion."""
        arrays = {"samples": said.samples, "rate": np.array(said.sample_rate), "seconds": np.array(seconds)}
        self.cache.put(arrays, "said", *self._key(request))

    def _key(self, request: Request) -> tuple[str, ...]:
        return self.system, request.speaker, *map(self._hash, (request.source, *request.references))

    def _hash(self, clip: Audio) -> str:
        if id(clip) not in self._hashes:
            self._hashes[id(clip)] = clip, content(clip)
        return self._hashes[id(clip)][1]
