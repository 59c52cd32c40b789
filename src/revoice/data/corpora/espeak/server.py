"""Speaks text with espeak-ng: a program of its own, run as a script, that imports nothing of revoice.

Reads one JSON job per line from standard input, prints one JSON line per job done. A job is one voice with all it has
to say: `{"voice", "uncut", "items": [{"wav", "text", "rate", "pitch", "range", "volume", "stress"}, ...]}`; the answer
gives, per item, its seconds and espeak's phoneme events. Where it is to be uncut, all is said again at half the volume
until espeak-ng had nothing to press down or cut. Each voice is spoken by a fresh process, because espeak keeps noise
and flutter state between utterances: only so is the sound of a voice independent of what was spoken before it, and by
whom.
"""

import ctypes
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from html import escape
from pathlib import Path

RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4  # espeak_PARAMETER
SYNCHRONOUS, PHONEME_EVENTS, UTF8, SSML, PHONEME = 2, 0x0001, 1, 0x10, 7
LOUD, QUIETEST = 31_800, 16  # of 32,767, at which espeak-ng presses down; the largest divisor of a volume


class EventId(ctypes.Union):
    """espeak_EVENT.id."""

    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    """espeak_EVENT."""

    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", EventId),
    ]  # fmt: skip


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def with_variant(data: Path, folder: Path, name: str, definition: str) -> Path:
    """Make `folder` a data folder of espeak-ng that knows one more voice variant: links to the rest of `data`.

    Copies where Windows allows no links.
    """
    variants = folder / "voices" / "!v"
    variants.mkdir(parents=True)
    for entry in data.iterdir():
        if entry.name != "voices":
            try:
                (folder / entry.name).symlink_to(entry)
            except OSError:
                copy = shutil.copytree if entry.is_dir() else shutil.copy2
                copy(entry, folder / entry.name)
    (variants / name).write_text(definition, encoding="utf-8")
    return folder


def speak_voice(job: dict) -> dict:
    """Speak all items of one voice into FLAC files."""
    from espeakng_loader import get_data_path

    data = Path(get_data_path())
    if not job["definition"]:
        return _speak(job, data)
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        return _speak(job, with_variant(data, Path(folder), job["voice"].split("+")[1], job["definition"]))


def _speak(job: dict, data: Path) -> dict:
    import numpy as np
    import soundfile
    from espeakng_loader import get_library_path

    library = ctypes.CDLL(get_library_path())
    chunks: list = []
    phones: list = []

    def collect(samples, count, events):
        if count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != 0:
            if events[index].type == PHONEME:
                phones.append((events[index].id.string.decode("utf-8", "replace"), events[index].sample))
            index += 1
        return 0

    callback = CALLBACK(collect)
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(data).encode(), PHONEME_EVENTS)
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_ng_SetRandSeed(1)  # breath is noise, which espeak-ng seeds with the time
    if library.espeak_SetVoiceByName(job["voice"].encode()) != 0:
        return {"voice": job["voice"], "error": f"espeak-ng has no voice {job['voice']}"}
    quieter = 1
    while True:
        done, loudest = [], 0
        for item in job["items"]:
            chunks.clear()
            phones.clear()
            volume = round(item["volume"] / quieter)
            told = {RATE: item["rate"], VOLUME: volume, PITCH: item["pitch"], RANGE: item["range"]}
            for parameter, value in told.items():
                library.espeak_SetParameter(parameter, value, 0)
            text, flags = item["text"], UTF8
            if item["stress"]:
                # in an emphasis espeak-ng forgets the volume that was set
                louder = f'<prosody volume="{volume}">{escape(text)}</prosody>'
                text, flags = f'<emphasis level="{item["stress"]}">{louder}</emphasis>', UTF8 | SSML
            spoken = text.encode()
            library.espeak_Synth(spoken, len(spoken) + 1, 0, 1, 0, flags, None, None)
            library.espeak_Synchronize()
            samples = np.concatenate(chunks)
            loudest = max(loudest, int(np.abs(samples.astype(np.int32)).max(initial=0)))
            part = item["wav"] + ".part"
            soundfile.write(part, samples, rate, subtype="PCM_16", format="FLAC")
            os.replace(part, item["wav"])
            events = [(name, round(sample / rate, 4)) for name, sample in phones if name]
            done.append({"seconds": round(len(samples) / rate, 4), "phones": events})
        if not job["uncut"] or loudest < LOUD or quieter == QUIETEST:
            return {"voice": job["voice"], "items": done}
        quieter *= 2


def main() -> None:
    """Serve jobs from standard input with as many processes as the first argument says."""
    jobs = [json.loads(line) for line in sys.stdin]
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    import numpy  # noqa: F401  imported before the fork, so that children share it
    import soundfile  # noqa: F401

    with multiprocessing.get_context(method).Pool(int(sys.argv[1]), maxtasksperchild=1) as pool:
        for answer in pool.imap(speak_voice, jobs, chunksize=1):
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
