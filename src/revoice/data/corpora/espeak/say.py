"""What espeak-ng would say: the phonemes of texts, for recordings of which only the words are known."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from revoice.data.corpora.espeak.make import serve
from revoice.errors import UserError

CALM = {"rate": 170, "pitch": 50, "range": 50, "volume": 100, "stress": ""}


def spoken(texts: Sequence[str], accent: str = "en-us") -> list[list[tuple[str, float]]]:
    """Phoneme events (name, start in seconds) of each text, as espeak-ng's own voice speaks it.

    Args:
        texts: words; capitals would be read as abbreviations and are made small.
        accent: of espeak-ng, e.g. "en-gb-x-rp".
    """
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        items = [{**CALM, "text": t.lower(), "wav": str(Path(folder) / f"{i}.flac")} for i, t in enumerate(texts)]
        with serve(1) as server:
            job = {"voice": accent, "definition": "", "uncut": False, "items": items}
            out, error = server.communicate(json.dumps(job) + "\n")
    answer: dict[str, Any] = json.loads(out) if out else {"error": (error.strip().splitlines() or ["it died"])[-1]}
    if "error" in answer:
        raise UserError(f"espeak-ng could not speak: {answer['error']}")
    return [[(name, start) for name, start in item["phones"]] for item in answer["items"]]
