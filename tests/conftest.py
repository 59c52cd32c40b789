"""Shared fixtures.

Material that a plain clone does not have (published weights, real speech) is optional: tests skip without it.
"""

import importlib
import os
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from revoice.audio.io import Audio

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many tests run at once as there are cores: also of what they start


def shared_dir() -> Path | None:
    """Folder with golden tensors and real clips: $REVOICE_SHARED, or `shared` beside the repository; None if absent."""
    path = Path(os.environ.get("REVOICE_SHARED", ROOT.parent / "shared"))
    return path if path.is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with many slow tests first: processes that share the tests then end with short ones, and at once."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # the order stays within a file, and among files without


@pytest.fixture(scope="session")
def shared() -> Path:
    """`shared_dir()`, or skip."""
    path = shared_dir()
    if path is None:
        pytest.skip("no ../shared folder beside the repository (set REVOICE_SHARED)")
    return path


@pytest.fixture(autouse=True, scope="session")
def key_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is hidden is hidden by a key of the tests, not by that of whoever runs them."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors: threads would only wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def opinions_of_a_clip_once() -> Iterator[None]:
    """DNSMOS hears equal clips once in a process: it takes seconds of processor time for a clip of two seconds."""
    from revoice.evaluation.cache import content
    from revoice.evaluation.metrics import naturalness

    ask, known = naturalness.opinion, {}

    def opinion(clip: "Audio") -> tuple[float, float]:
        if (key := content(clip)) not in known:
            known[key] = ask(clip)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(naturalness, "opinion", opinion)
        yield


@pytest.fixture(autouse=True, scope="session")
def configurations_are_parsed_once() -> Iterator[None]:
    """A command composes its configuration twice, of the same few files: a process parses each once, as it then is."""
    from hydra._internal.config_repository import ConfigRepository
    from hydra.core.object_type import ObjectType

    parse, known = ConfigRepository.load_config, {}

    def load_config(self: ConfigRepository, config_path: str) -> object:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None or source.scheme() not in ("file", "pkg"):
            return parse(self, config_path)
        key = (source.scheme(), source.path, source.provider, config_path)
        if source.scheme() == "file":
            about = Path(source.path, source._normalize_file_name(config_path)).stat()
            key = (*key, about.st_mtime_ns, about.st_size, about.st_ino)
        if key not in known:
            known[key] = pickle.dumps(parse(self, config_path))
        return pickle.loads(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", load_config)
        yield


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny embedded corpus in `data/`, shared by the tests that run commands there."""
    from revoice.data.corpora.espeak.make import Recipe, make_corpus

    folder = tmp_path_factory.mktemp("workplace")
    recipe = Recipe(sentences=6, test_sentences=4, max_voices=4)
    make_corpus(folder / "data" / "synthetic" / recipe.key(), recipe)
    return folder


TINY = ["data.corpus.max_voices=4", "data.corpus.sentences=6", "data.corpus.test_sentences=4"]
# the small models with few channels, for what holds at any width
_CHANNELS = [f"model.{part}.channels=16" for part in ("speaker_encoder", "content_encoder", "decoder")]
ADAIN = ["model=adain_vc_small", *_CHANNELS]
VQVAE = ["model=vqvae_small", "model.encoder.channels=16", "model.decoder.channels=16"]


def compose_config(name: str, *overrides: str, folder: Path) -> dict:
    """A command's configuration as plain values, its data and runs below `folder`."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from revoice.audio.presets import config_dir

    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config = compose(name, [*overrides], return_hydra_config=False)
    if "paths" in config:
        config.paths.data_dir, config.paths.output_dir = str(folder / "data"), str(folder / "outputs")
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


@pytest.fixture(scope="session")
def trained(workplace: Path) -> Path:
    """The run folder of a model trained for a few steps."""
    from revoice.training.run import train

    config = compose_config("train", "model=adain_vc_small", "debug=tiny", "logger=csv", *TINY, folder=workplace)
    return train(config, workplace / "outputs" / "trained").folder


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder of Whisper's form with random weights, as `import_checkpoint.py kind=whisper` leaves them."""
    from tests.whisper_teacher import write_teacher

    path = tmp_path_factory.mktemp("teacher") / "whisper.safetensors"
    write_teacher(path)
    return path


@pytest.fixture
def command(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command in the shared workplace: (exit status, stdout, stderr)."""
    monkeypatch.chdir(workplace)

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        status = 0
        try:
            importlib.import_module(f"revoice.cli.{name}").main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture(scope="module")
def clip(workplace: Path) -> str:
    return str(next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p901/*.flac")))
