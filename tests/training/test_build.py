"""How a run is put together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.models.base import MODELS
from revoice.training import build
from revoice.training.build import searched_alike
from revoice.training.trainer import slowed_by_bf16
from tests.conftest import TINY


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
