"""How a run is put together."""

from pathlib import Path

import pytest

from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.models.base import MODELS
from revoice.training.build import searched_alike


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
