"""A tiny parallel corpus; also makes `evaluation_helpers` importable for the tests of this folder."""

from pathlib import Path

import pytest
from evaluation_helpers import RATE, VOICES, Timbre, speak

from revoice.audio.io import write_audio
from revoice.data.corpora.manifest import Manifest, Row


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Six voices; five sentences of each, of which 3 and 4 are in nobody's training."""
    root: Path = tmp_path_factory.mktemp("tones")
    rows = []
    for voice, (pitch, tract, gender, split) in VOICES.items():
        for sentence in range(5):
            name = f"{voice}_{sentence}"
            write_audio(root / f"{name}.wav", speak(pitch, tract, sentence), RATE)
            own = "train" if split == "test_seen" and sentence < 3 else split
            rows.append(
                Row(
                    id=name, path=f"{name}.wav", speaker=voice, sentence=f"s{sentence}", text=f"words <{sentence}>",
                    gender=gender, split=own, seconds=0.8,
                )
            )  # fmt: skip
    return Manifest("tones", root, ()).with_rows(rows)


@pytest.fixture()
def timbre() -> Timbre:
    return Timbre()
