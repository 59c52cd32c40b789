import csv
import json
import math
from pathlib import Path

import pytest
import torch

from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.cli import evaluate, export
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.phone_error import Heard, PhoneErrors, PhoneProtocol, phone_errors
from revoice.evaluation.phone_error import save as save_errors
from revoice.models.base import MODELS
from tests.conftest import TINY, compose_config


@pytest.fixture
def recognizer(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    arguments = {"channels": 16, "dilations": [1]}
    about = Description(model="phones", arguments=arguments, features=load_preset("whisper_16k").to_dict())
    save(MODELS.build("phones", arguments), about, tmp_path / "phones.safetensors")
    return tmp_path / "phones.safetensors"


def heard(speaker: str, said: str, got: str, copy: str | None = None) -> Heard:
    row = Row(id=f"{speaker}-{said}", path="", speaker=speaker)
    return Heard(row, said.split(), got.split(), copy.split() if copy is not None else None)


def test_errors_are_counted_over_all_phones() -> None:
    clips = [heard("a", "p b t d", "p b t", "p b"), heard("a", "s", "s s", "s s"), heard("b", "k", "k", "g")]
    found = PhoneErrors(clips, 3.0).summary()
    assert (found["clips"], found["speakers"], found["phones"]) == (3, 2, 6)
    assert found["per"] == pytest.approx(2 / 6, abs=1e-4)
    assert found["copy_per"] == pytest.approx(4 / 6, abs=1e-4)
    assert found["copy_change"] == pytest.approx(2 / 6, abs=1e-4), "two of the six that are heard in the originals"
    assert found["per_95"][0] <= found["per"] <= found["per_95"][1]


def test_where_nothing_is_said_or_heard_nothing_is_perfect(recognizer: Path, tmp_path: Path) -> None:
    found = PhoneErrors([heard("a", "", "")], 1.0)
    assert math.isnan(found.summary()["per"])
    save_errors(found, "a", {}, tmp_path, 0)
    assert json.loads((tmp_path / "metrics.json").read_text())["phone_error"]["a"]["per"] is None
    row = Row(id="a", path="a.wav", speaker="a", split="test_unseen", phones=(("p", 0.1),))
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"none of 1 recordings of x can be heard: .*a\.wav"):
        phone_errors(load_checkpoint(recognizer), Manifest("x", tmp_path, (row,)), PhoneProtocol(), progress=False)


def test_the_command_measures_and_export_remembers(workplace: Path, recognizer: Path, tmp_path: Path) -> None:
    overrides = ["evaluation=phones", f"ckpt={recognizer}", "features=mel_22k", *TINY, "evaluation.limit=2"]
    values = compose_config("evaluate", *overrides, "evaluation.title=unseen voices", folder=workplace)
    values["out"] = str(tmp_path / "report")
    evaluate.task(values, tmp_path)
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())["phone_error"]["unseen voices"]
    assert found["clips"] == 2 and found["phones"] > 20 and found["per"] > 0 and found["copy_change"] >= 0
    rows = list(csv.DictReader((tmp_path / "report" / "clips.csv").open()))
    assert len(rows) == 2 and rows[0]["said"].split()

    values = compose_config("export", f"ckpt={recognizer}", folder=workplace)
    values |= {"out": str(tmp_path / "told.safetensors"), "facts": str(tmp_path / "report" / "metrics.json")}
    export.task(values, tmp_path)
    assert load_checkpoint(tmp_path / "told.safetensors").description.data["phone_error"] == {"unseen voices": found}
    (tmp_path / "none.ckpt").write_text("none")
    values |= {"facts": str(recognizer), "ckpt": str(tmp_path / "none.ckpt")}  # found out before weights are read
    with pytest.raises(UserError, match="facts="):
        export.task(values, tmp_path)


def test_what_cannot_be_measured_is_said(workplace: Path, recognizer: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="all, unseen"):
        PhoneProtocol(sentences="some")
    wrong = ((recognizer, "nowhere", "unknown split"), (trained, "test_unseen", "not a recognizer"))
    for ckpt, split, message in wrong:
        overrides = ["evaluation=phones", f"ckpt={ckpt}", *TINY, f"evaluation.splits=[{split}]"]
        values = compose_config("evaluate", *overrides, folder=workplace)
        values["out"] = str(tmp_path / "report")
        with pytest.raises(UserError, match=message):
            evaluate.task(values, tmp_path)
