"""How a run is put together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from revoice import untrusted
from revoice.audio.io import write_audio
from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description, unpacked
from revoice.checkpoint.load import Loaded
from revoice.data.config import build as build_data
from revoice.data.corpora.splits import mark
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.training import build
from revoice.training.build import searched_alike
from revoice.training.config import check
from revoice.training.run import train
from revoice.training.trainer import slowed_by_bf16
from tests.conftest import ADAIN, TINY, compose_config


def earlier(fields: dict) -> Loaded:
    spec = load_preset("mel_22k")
    about = Description(model="voiceprint", arguments={}, features=spec.to_dict(), fields=fields)
    return Loaded(MODELS.build("voiceprint", {}), spec, about, Path("a.ckpt"), "")


@pytest.mark.parametrize(
    "data", [{"name": "vctk"}, {"prepare": None}, {"prepare": {"fields": {"paired": {"copies": 2}}}}]
)
def test_pitch_is_searched_as_for_the_model_that_a_run_goes_on_from(data: dict) -> None:
    found = searched_alike(data, earlier({"f0": {"method": "network"}}))
    assert found["prepare"]["fields"]["f0"] == {"method": "network"}
    others = (data.get("prepare") or {}).get("fields") or {}
    assert {k: v for k, v in found["prepare"]["fields"].items() if k != "f0"} == others
    assert searched_alike(data, earlier({})) == searched_alike(data, None) == data


def test_what_the_data_says_of_the_search_stays() -> None:
    data = {"prepare": {"fields": {"f0": {"method": "harvest"}}}}
    assert searched_alike(data, earlier({"f0": {"method": "network"}})) == data
    partly = searched_alike({"prepare": {"fields": {"f0": {"floor": 80}}}}, earlier({"f0": {"method": "network"}}))
    assert partly["prepare"]["fields"]["f0"] == {"method": "network", "floor": 80}


@pytest.mark.parametrize("times", [30.0, 0.7])
def test_16_bits_that_take_longer_here_are_named(
    times: float, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert slowed_by_bf16(16) > 0
    monkeypatch.setattr(build, "slowed_by_bf16", lambda: times)
    settings = ["model=adain_vc_small", "debug=tiny", "logger=csv", "max_iterations=1", "trainer=cpu"]
    status, out, err = command("train", *settings, "trainer.precision=bf16-mixed", *TINY)
    assert status == 0
    assert ("bf16 take 30 times as long here: leave trainer.precision out" in out + err) == (times > 2)


def voices(folder: Path) -> Path:
    """A CSV of four recordings, of which one is not trained on."""
    for number in range(4):
        write_audio(folder / f"{number}.wav", 0.1 * np.sin(np.arange(24_000) / (10 + number)), 22_050)
    lines = ["path,speaker,split,sentence", *(f"{n}.wav,s{n % 2},{'train' if n < 3 else 'test'}," for n in range(4))]
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


@pytest.mark.parametrize("kind", ["corpus", "stream", "mixture"])
def test_checkpoints_tell_the_sentences_that_were_trained_on(kind: str, workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    config = compose_config("train", *ADAIN, "debug=tiny", "logger=none", *TINY, folder=workplace)
    own, other = config["data"], {"name": "folder", "root": str(voices(tmp_path / "mine"))}
    if kind == "mixture":
        shared = {key: value for key, value in own.items() if key in ("batch_size", "prepare")}
        config["data"] = {**shared, "name": "mixture", "parts": {"a": own, "b": other}, "splits": {}}
    if kind == "stream":
        own |= {"stream": True, "device": None, "streaming": {"workers": 0}}
    parts = build.build(config, check(config))
    about = parts.description
    manifests = [build_data(part).manifest() for part in ([own, other] if kind == "mixture" else [own])]
    heard = {mark(row) for manifest in manifests for row in manifest.select("train", "val")}
    held = {mark(row) for manifest in manifests for row in manifest.select("test_seen")}
    assert held and not heard & held
    corpus = "+".join(manifest.corpus for manifest in manifests)
    assert list(about.sentences) == [corpus] and unpacked(about.sentences[corpus]) == heard
    if kind == "stream":
        own["streaming"]["address"] = parts.data.streams[0].address
        alone = build.build(config, check(config)).description
        assert alone == replace(about, sentences={}), "of a stream alone nobody knows what is said in it"


def test_names_that_no_checkpoint_can_hold_are_refused_before_training(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config("train", *ADAIN, "debug=tiny", "logger=none", *TINY, folder=workplace)
    monkeypatch.setattr(untrusted, "_PROGRAM", 1000)
    with pytest.raises(UserError, match="training speakers.*data.speakers=") as error:
        train(config, tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()
