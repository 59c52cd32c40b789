from pathlib import Path

import pytest
from data_helpers import speakers_folder

from revoice.audio.presets import config_dir, load_preset
from revoice.data.config import build
from revoice.data.corpora.base import CORPORA
from revoice.errors import UserError
from tests.conftest import compose_config

NAMES = sorted(path.stem for path in (config_dir() / "data").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_config_builds(name: str, tmp_path: Path) -> None:
    config = compose_config("prepare", f"data={name}", folder=tmp_path)["data"]
    if name == "mixture":
        parts = {part: {"name": "folder", "root": str(tmp_path)} for part in ("a", "b")}
        setup = build({**config, "parts": parts})
        assert list(setup.parts) == ["a", "b"] and setup.shares() is None
        return
    if name == "speeds":
        config["corpus"]["of"] = {"name": "folder", "root": str(tmp_path), "splits": {}}
    setup = build({**config, "root": str(tmp_path)})
    assert setup.corpus.name == config["name"] and setup.batch_size > 0
    assert {"name", "root", "batch_size", "corpus", "splits", "prepare"} <= set(config)


def test_every_corpus_has_a_config() -> None:
    assert set(CORPORA.names()) <= set(NAMES)


def test_from_config_to_prepared(tmp_path: Path) -> None:
    speakers_folder(tmp_path / "voices", speakers=2, clips=3)
    config = {
        "name": "folder",
        "root": str(tmp_path / "voices"),
        "splits": {"unseen_speakers": ["s1"]},
        "prepare": {"trim_db": 30, "workers": 0, "fields": {"f0": {"method": "harvest"}}},
    }
    setup = build(config)
    prepared = setup.prepare(load_preset("mel_22k"), ("features", "f0"), tmp_path / "out", progress=False)
    assert {row.speaker for row in prepared.manifest.select("test_unseen")} == {"s1"}
    assert [row.split for row in setup.manifest()] == [row.split for row in prepared.manifest]
    assert '"harvest"' in (prepared.folders["f0"] / "index.json").read_text()


def test_some_speakers_alone(tmp_path: Path) -> None:
    speakers_folder(tmp_path / "voices", speakers=3, clips=3)
    config = {"name": "folder", "root": str(tmp_path / "voices"), "splits": {"unseen_speakers": 0.1}}
    setup = build({**config, "speakers": ["s1"]})
    assert {row.speaker for row in setup.manifest()} == {"s1"} == setup.training_speakers()
    prepared = setup.prepare(load_preset("mel_22k"), ("f0",), tmp_path / "out", progress=False)
    assert {row.speaker for row in prepared.manifest} == {"s1"}
    with pytest.raises(UserError, match=r"unknown speaker \(data.speakers\) 's7'"):
        build({**config, "speakers": ["s7"]}).manifest()
    parts = {part: {"name": "folder", "root": str(tmp_path)} for part in ("a", "b")}
    with pytest.raises(UserError, match="data.parts.NAME.speakers"):
        build({"name": "mixture", "parts": parts, "speakers": ["s1"]})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "vctkk", "root": "x"}, "unknown corpus 'vctkk': did you mean 'vctk'"),
        ({"name": "vctk", "root": None}, "no folder is given.*Edinburgh"),
        ({"name": "vctk", "rooot": "x"}, "unknown setting of data 'rooot'"),
        ({"name": "vctk", "root": "x", "splits": {"sed": 1}}, "setting of data.splits 'sed'"),
        ({"name": "vctk", "root": "x", "prepare": {"worker": 1}}, "setting of data.prepare 'worker'"),
        ({"name": "vctk", "root": "x", "corpus": {"subsets": []}}, "setting of corpus vctk 'subsets'"),
        ({"root": "x"}, "name"),
        (
            {
                "name": "mixture",
                "parts": {"a": {"name": "folder", "root": "x"}, "b": {"name": "folder", "root": "y"}},
                "weights": {"a": float("nan"), "b": 1},
            },
            "data.weights.a=nan: expected a number above 0",
        ),
    ],
)
def test_mistakes_are_one_line(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build(config)
    assert "\n" not in str(caught.value)
