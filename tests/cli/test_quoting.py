"""File names as people have them, through quoting and Hydra's own grammar, unharmed."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from revoice.cli.convert import as_settings
from revoice.cli.quoting import quote_arguments

AWKWARD = [
    "epoch=3.ckpt", "take (1).wav", "日本.wav", "~/x.wav", "it's.wav", "a,b.wav", "225", "a b.wav", 'say "hi".wav',
    "${x}.wav", "c:\\voices\\a.wav", "end\\", "[1].wav", "{a}.wav", "true", "1.5", "x=y=z.wav", "-a.wav", "a:b.wav",
    "*.flac", "\\'.wav", "%20#.wav",
]  # fmt: skip


def through_hydra(argument: str) -> object:
    (override,) = OverridesParser.create().parse_overrides(quote_arguments([argument]))
    assert not override.is_sweep_override()
    config = OmegaConf.create({"value": None})
    OmegaConf.update(config, "value", override.value())
    value = config.value
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("key", ["ckpt", "src", "tgt", "out"])
def test_awkward_names_arrive_as_typed(key: str, name: str) -> None:
    assert through_hydra(f"{key}={name}") == name


@pytest.mark.parametrize(
    "key",
    [
        "evaluation.protocol",
        "evaluation.cache",
        "metrics.second_verifier.path",
        "model.content_from",
        "model.codes.ckpt",
    ],
)
def test_places_in_groups_arrive_as_typed(key: str) -> None:
    assert through_hydra(f"{key}=my run (2)/[a].json") == "my run (2)/[a].json"


def test_lists_are_lists_of_names() -> None:
    assert through_hydra("tgt=[b.wav,it's.wav,take (1).wav,225]") == ["b.wav", "it's.wav", "take (1).wav", "225"]
    assert through_hydra("tgt=['a, b.wav',c.wav]") == ["a, b.wav", "c.wav"]
    assert through_hydra("tgt=[a\\,b.wav,c.wav]") == ["a,b.wav", "c.wav"]


def test_null_and_quoted_values_are_left_alone() -> None:
    assert through_hydra("out=null") is None
    assert through_hydra("src='x y.wav'") == "x y.wav"


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_any_name_survives(name: str) -> None:
    if name == "null" or name[0] in "['\"" or name.startswith(("choice(", "range(", "glob(")):
        return
    assert through_hydra(f"src={name}") == name


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_quoting_twice_changes_nothing(name: str) -> None:
    once = quote_arguments([f"src={name}"])
    assert quote_arguments(once) == once


def test_other_arguments_are_untouched() -> None:
    arguments = ["-m", "model=a,b", "optimizer.lr=1e-3,1e-4", "--help", "init_from=choice(a,b)"]
    assert quote_arguments(arguments) == arguments


def test_paths_of_the_parts_of_a_mixture_are_quoted() -> None:
    assert quote_arguments(["data.parts.vctk.root=a b (1)"]) == ["data.parts.vctk.root='a b (1)'"]
    assert quote_arguments(["data.streaming.address=http://x/y?a=b"]) == ["data.streaming.address='http://x/y?a=b'"]
    assert quote_arguments(["data.parts.vctk.batch_size=3"]) == ["data.parts.vctk.batch_size=3"]


def test_paths_are_quoted_wherever_they_are() -> None:
    keys = [
        "evaluation.voices.pool", "evaluation.voices.ckpt", "evaluation.recognizer.path", "recognizer.path",
        "+evaluation.verifier.path", "callbacks.samples.recognizer.path", "critics.patch.init_from", "voices.pool",
        "vocoder.ckpt", "model.codes.ckpt", "metrics.second_recognizer.command",
    ]  # fmt: skip
    assert quote_arguments([f"{key}=my voices (1)" for key in keys]) == [f"{key}='my voices (1)'" for key in keys]


def test_dashes_before_a_setting_of_a_conversion_change_nothing() -> None:
    typed = ["src=a.wav", "strength=0.3", "vocoder.iterations=100", "voice=pseudo", "seed=3", "gender=female"]
    assert as_settings([f"--{setting}" for setting in typed]) == as_settings(typed)
    assert {"++controls.strength=0.3", "vocoder=griffin_lim", "voices.seed=3"} < {*as_settings(typed)}
    assert as_settings(["--help", "--cfg=job"]) == ["--help", "--cfg=job"]
