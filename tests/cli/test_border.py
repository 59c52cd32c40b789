"""Every value of every configuration, set to what it cannot be: refused in one line, before any work is done."""

import copy
import math
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from revoice.audio.presets import config_dir
from revoice.cli import convert, evaluate, export, import_checkpoint, prepare, try_it
from revoice.errors import UserError
from revoice.training import config as training
from tests.conftest import compose_config

WRONG = ("abc", math.nan, math.inf, -1, 0, 1e30, None, [math.nan, "b"], {"a": {}}, "x" * 6000)
Check = Callable[[dict[str, Any]], Any]
Key = tuple[str, ...]


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def places(values: dict[str, Any], above: Key = ()) -> Iterator[Key]:
    """The keys of every leaf and of every group."""
    for name, value in values.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


def changed(values: dict[str, Any], key: Key, value: Any) -> dict[str, Any]:
    """A copy with another value at one place."""
    result = dict(values)
    result[key[0]] = changed(values[key[0]], key[1:], value) if len(key) > 1 else copy.deepcopy(value)
    return result


def at(values: Any, key: Key) -> Any:
    return at(values[key[0]], key[1:]) if key else values


def walk(check: Check, configs: list[dict[str, Any]]) -> None:
    """Set every place of some configurations to every wrong value; what several of them share is tried once."""
    met, failures, tried = set(), [], 0
    for config in configs:
        for key in places(config):
            kind = config[key[0]].get("name") if isinstance(config[key[0]], dict) else None
            about = (key, kind, repr(at(config, key)))
            if about in met:
                continue
            met.add(about)
            for value in WRONG:
                tried += 1
                try:
                    check(changed(config, key, value))
                except UserError as error:
                    message = str(error)
                    assert "\n" not in message and len(message) < 2000, (key, value)
                except Exception as error:
                    failures.append(f"{'.'.join(key)}={str(value)[:20]}: {type(error).__name__}: {error}")
    assert tried and not failures, "\n".join(failures)


def with_group(config: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    """The configuration with another preset of a group that is plain yaml."""
    chosen = OmegaConf.to_container(OmegaConf.load(config_dir() / group / f"{name}.yaml"))
    assert isinstance(chosen, dict)
    return {**config, group: chosen}


@pytest.fixture(scope="module", autouse=True)
def drawn_once() -> Iterator[None]:
    """Most of what is wrong leaves the model alone: equal ones are drawn once, as each run draws its own once."""
    check, seen = training._check_sizes, {}

    def draw(*sizes: Any) -> list[str]:
        if (key := f"{sizes[0].kind} {sizes[1:]!r}") not in seen:
            seen[key] = check(*sizes)
        return seen[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_check_sizes", draw)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compose_config("train", "model=vqvae_small", folder=tmp_path_factory.mktemp("base"))


def trained(model: str, folder: Path, teacher: Path) -> dict[str, Any]:
    config = compose_config("train", f"model={model}", folder=folder)
    if "content_from" in config["model"]:
        config["model"]["content_from"] = str(teacher)
    return config


MODELS = ("adain_vc_small", "phone_teacher", "phones", "random_cnn", "recsyn", "vqvae_small", "vqvae_speech2speech")


def test_train(tmp_path: Path, teacher: Path) -> None:
    configs = [trained(model, tmp_path, teacher) for model in MODELS]
    configs.append(compose_config("train", "vocoder=vocos_small", folder=tmp_path))
    for config in configs:
        if config["loss"]:
            training.check(config)
    walk(training.check, configs)


@pytest.mark.slow
def test_train_with_every_preset(base: dict[str, Any], tmp_path: Path, teacher: Path) -> None:
    configs = [trained(model, tmp_path, teacher) for model in names("model")]
    configs += [compose_config("train", f"vocoder={name}", folder=tmp_path) for name in names("vocoder")
                if name not in ("griffin_lim", "found", "trained")]  # fmt: skip
    configs += [compose_config("train", f"trainer={name}", folder=tmp_path) for name in names("trainer")]
    configs += [compose_config("train", f"experiment={name}", folder=tmp_path) for name in names("experiment")
                if name != "phones_taught"]  # fmt: skip
    walk(training.check, configs)


@pytest.mark.slow
def test_train_with_every_group(base: dict[str, Any], tmp_path: Path) -> None:
    corpora = [
        {**base, "data": compose_config("prepare", f"data={name}", folder=tmp_path)["data"]} for name in names("data")
    ]
    for config in corpora:
        if config["data"]["name"] == "mixture":
            config["data"]["parts"] = {"a": corpora[0]["data"], "b": corpora[-1]["data"]}
        if config["data"]["name"] == "speeds":
            config["data"]["corpus"]["of"] = {"name": "folder", "root": str(tmp_path), "splits": {}}
        config["data"]["root"] = str(tmp_path)
    del next(config for config in corpora if config["data"]["name"] == "mixture")["data"]["root"]
    for config in corpora:
        training.check(config)
    others = [with_group(base, group, name) for group in ("optimizer", "features", "logger") for name in names(group)]
    more = [changed(base, ("optimizer",), {"name": name, "lr": 1e-3}) for name in ("sgd", "rmsprop", "radam")]
    walk(training.check, [*corpora, *others, *more])


def test_convert(tmp_path: Path) -> None:
    clips = {"src": ["a.wav"], "tgt": ["b.wav"]}
    configs = [
        compose_config("convert", *more, folder=tmp_path) | clips for more in ([], ["model=random_cnn_published"])
    ]
    for config in configs:
        convert.check(config)
    walk(convert.check, configs)


@pytest.mark.slow
def test_evaluate(tmp_path: Path) -> None:
    configs = [
        compose_config("evaluate", f"evaluation={name}", folder=tmp_path)
        | {"ckpt": None if name.startswith("gram") else "default"}
        for name in names("evaluation")
    ]
    configs.append(compose_config("evaluate", "model=random_cnn", folder=tmp_path))
    for config in configs:
        evaluate.check(config)
    walk(evaluate.check, configs)


def test_the_other_commands(tmp_path: Path) -> None:
    prepared = compose_config("prepare", folder=tmp_path)
    given = {"kind": "adain_vc", "path": "a.ckpt", "out": "b.ckpt"}
    imported = compose_config("import_checkpoint", folder=tmp_path) | given
    exported = compose_config("export", folder=tmp_path) | {"ckpt": "default", "out": "a.safetensors"}
    tried = compose_config("try", folder=tmp_path)
    commands: list[tuple[Check, dict[str, Any]]] = [
        (prepare.check, prepared), (import_checkpoint.check, imported), (export.check, exported), (try_it.check, tried),
    ]  # fmt: skip
    for check, config in commands:
        check(config)
        walk(check, [config])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        *(("train", f"{group}=null") for group in ("model", "features", "optimizer", "data", "trainer", "paths")),
        *(("evaluate", f"{group}=null") for group in ("vocoder", "metrics", "evaluation", "data")),
        ("train", "hydra.run.dir=/proc/x"), ("train", "seed=4294967296"), ("train", "optimizer.lr=-1"),
        ("train", "optimizer.betas=[2,3]"), ("train", "trainer.clip=-1"), ("train", "callbacks.ema={decay: 2}"),
        ("train", "callbacks.early_stopping={monitor: bogus}"), ("train", "model.frames=7"),
        ("train", "max_iterations=nan"),
        ("train", "ckpt_path=nowhere"), ("convert", "vocoder.seed=99999999999999999999"),
        ("convert", "++controls.strength=1e300"),
        ("evaluate", "metrics.sentences_per_pair=0"), ("evaluate", "ckpt=nowhere"), ("prepare", "prepare.shard=1"),
    ],
)  # fmt: skip
def test_a_command_line_is_refused_in_one_line(
    command: str, arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["src=a.wav", "tgt=b.wav"] if command == "convert" else []
    monkeypatch.setattr(sys, "argv", [f"{command}.py", *given, arguments])
    with pytest.raises(SystemExit) as ended:
        import_module(f"revoice.cli.{command}").main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and said.startswith("error: ")
    key = arguments.lstrip("+").split("=")[0].split(".")[-1]
    assert key in said or "nowhere" in said or arguments.startswith("hydra") or "decay" in said or "monitor" in said
    assert not (tmp_path / "data").exists()
