"""Training on speakers whose names are no names of files: nothing leaves the run folder, and the names stay."""

import os
from pathlib import Path

import pytest

from revoice.checkpoint.load import load_checkpoint
from revoice.evaluation.report import write_rows
from revoice.training.reporter import Reporter
from revoice.training.run import train
from tests.conftest import compose_config
from tests.data.corpora.test_odd_tables import NAMES, table

SPEAKERS = [name for name in NAMES if name.strip()][:8]


def everything(folder: Path) -> set[str]:
    return {os.path.join(place, name) for place, _, names in os.walk(folder) for name in names}


@pytest.mark.parametrize("model", ["adain_vc_small", "vqvae_small"])
def test_speakers_of_any_name_are_trained_and_heard(model: str, tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "down" / "here"
    source = table(inside / "in", SPEAKERS)
    config = compose_config(
        "train", f"model={model}", "data=folder", "debug=tiny", "logger=csv", "trainer=cpu", "data.splits.limit=null",
        folder=inside,
    )  # fmt: skip
    heard = {"count": len(SPEAKERS), "recognizer": None} if model == "adain_vc_small" else None
    config["callbacks"] |= {"samples": heard, "speaker_map": {}}
    config["trainer"]["val_every"] = 4
    config["data"]["root"] = str(source)
    outcome = train(config, inside / "run")
    assert {path.name for path in inside.iterdir()} <= {"in", "data", "run"} and set(tmp_path.iterdir()) == {
        tmp_path / "deep"
    }
    samples = [path for path in everything(inside / "run") if path.endswith((".wav", ".png"))]
    rounds = {Path(path).parent for path in samples}
    assert len(samples) >= (2 * len(SPEAKERS) if heard else 1) and all(
        len(os.path.basename(path).encode()) < 200 for path in samples
    )
    assert all(str(place).startswith(str(inside / "run" / "samples")) for place in rounds)
    about = load_checkpoint(outcome.folder).description
    if model == "vqvae_small":
        assert about.speakers == sorted({name.strip() for name in SPEAKERS})


def test_media_of_any_name_go_to_the_run_folder(tmp_path: Path) -> None:
    import numpy as np

    from revoice.audio.io import Audio

    reporter = Reporter(tmp_path / "run", [])
    files = {reporter.image(name, b"png", 3) for name in NAMES}
    files |= {reporter.audio(name, Audio(np.zeros(100, np.float32), 16000), 3) for name in NAMES}
    assert len(files) == 2 * len(NAMES) and {path.parent for path in files} == {
        tmp_path / "run" / "samples" / "0000003"
    }
    assert everything(tmp_path) == {str(path) for path in files}


def test_tables_of_an_evaluation_compute_nothing(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.csv", [{"speaker": name, "cosine": -0.5} for name in NAMES] + [{"=key": "x"}])
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    assert "'=HYPERLINK(\"" in text.replace('""', '"') and "\n=" not in text and ",'=key" in text and ",-0.5" in text
