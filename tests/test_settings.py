"""One check for every setting, by whatever way it comes, and one line for what is wrong with it."""

import dataclasses
import math
import pickle
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from revoice.errors import UserError
from revoice.mistakes import expectation
from revoice.models.base import MODELS
from revoice.registry import Registry
from revoice.settings import (
    Count,
    Factors,
    Flag,
    Fraction,
    Names,
    Natural,
    Number,
    Place,
    Share,
    Whole,
    Word,
    Words,
    checked,
    from_mapping,
    settings,
)  # fmt: skip


@settings
class Part:
    kernel: Count = 5
    strides: Factors | None = None
    norm: Literal["batch", "instance"] = "batch"
    dropout: Share = 0.0


@settings
class Top:
    frames: Count
    part: Part | None = None
    stretch: Number | None = None
    unseen: Natural | Fraction | Names = 0.1
    on: Flag = False
    weights: dict[Word, Annotated[Number, Field(gt=0)]] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "model.frames is missing: expected a whole number from 1"),
        ({"frames": 0}, "model.frames=0: expected a whole number from 1"),
        ({"frames": True}, "model.frames=true: expected a whole number from 1"),
        ({"frames": None}, "model.frames=null: expected a whole number from 1"),
        ({"frames": 1.5}, "model.frames=1.5: expected a whole number from 1"),
        ({"frames": 1e30}, "model.frames=1e+30: expected a whole number from 1 to 2147483647"),
        ({"frames": 1, "part": {"kernel": 0}}, "model.part.kernel=0: expected a whole number from 1"),
        ({"frames": 1, "part": "abc"}, "model.part=abc: expected settings, e.g. model.part.kernel=VALUE, or null"),
        ({"frames": 1, "part": {"kernal": 0}}, "unknown setting of model.part 'kernal': did you mean 'kernel'?"),
        ({"frames": 1, "part": {"norm": "bacth"}}, "unknown model.part.norm 'bacth': did you mean 'batch'?"),
        ({"frames": 1, "part": {"norm": 1}}, "model.part.norm=1: expected batch or instance"),
        ({"frames": 1, "part": {"dropout": 2}}, "model.part.dropout=2: expected a number from 0 to 1"),
        ({"frames": 1, "part": {"strides": [1, 0]}}, "model.part.strides=[1,0]: expected a list, each a whole number"),
        ({"frames": 1, "stretch": math.nan}, "model.stretch=nan: expected a number, or null"),
        ({"frames": 1, "unseen": -1}, "model.unseen=-1: expected a whole number from 0, or a number"),
        ({"frames": 1, "on": 1}, "model.on=1: expected true or false"),
        ({"frames": 1, "weights": {"a": 0}}, "model.weights.a=0: expected a number above 0"),
        ({"frames": "\n\x1b[2J" * 99}, "model.frames="),
        ("abc", "model=abc: expected settings, e.g. model.frames=VALUE"),
        (None, "model=null: expected settings"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line_by_the_name_as_it_is_typed(values: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        from_mapping(Top, values, "model")
    message = str(caught.value)
    assert message.startswith(said) and message.isprintable()


def test_what_files_write_differently_means_the_same() -> None:
    given = {"frames": 8000.0, "part": {"kernel": "3", "dropout": "1e-5", "strides": [2, 2]}, "unseen": "p225"}
    found = from_mapping(Top, given, "model")
    assert found == Top(frames=8000, part=Part(kernel=3, dropout=1e-5, strides=(2, 2)), unseen=("p225",))
    assert type(found.frames) is int and checked(Words, 225, "tgt") == ("225",)
    assert checked(Place, "~/a", "out") == Path.home() / "a"


@pytest.mark.parametrize(
    "path", ["", "a\0b", "x" * 6000, f"{'x' * 300}/a.wav", "~nobody-of-that-name/x", math.nan, None]
)
def test_what_no_file_can_be_called_is_no_path(path: object) -> None:
    with pytest.raises(UserError, match="out=.*: expected a path"):
        checked(Place, path, "out")


def test_python_is_checked_like_files() -> None:
    with pytest.raises(UserError, match="Part.kernel=0: expected a whole number from 1"):
        Part(kernel=0)
    with pytest.raises(UserError, match="Part.dropout"):
        dataclasses.replace(Part(), dropout=math.inf)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Part().kernel = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(Part(kernel=3))) == Part(kernel=3) != Part()


def test_a_registered_class_is_checked_by_its_annotations() -> None:
    table: Registry[Any] = Registry("thing", "revoice.data.fields", typed="things.{name}")

    @table.register("one")
    class One:
        def __init__(self, spec: object, size: Count, part: Part | None = None) -> None:
            self.spec, self.size, self.part = spec, size, part

    given = {"size": "3", "part": {"kernel": 7.0}}
    made = table.build("one", given, {"spec": table, "unused": 1})
    assert made.spec is table and made.size == 3 and made.part == Part(kernel=7)
    assert table.arguments("one", given) == {"size": 3, "part": {"kernel": 7.0}}
    for values, said in (
        ({}, "things.one.size is missing: expected a whole number from 1"),
        ({"size": 0}, "things.one.size=0"),
        ({"size": 1, "part": {"kernel": 0}}, "things.one.part.kernel=0"),
        ({"size": 1, "sise": 1}, "unknown setting of thing one 'sise'"),
    ):
        with pytest.raises(UserError, match=said):
            table.build("one", values, {"spec": table})
        with pytest.raises(UserError, match=said):
            table.check("one", values, facts=("spec",))
    with pytest.raises(UserError, match="things.one.part.kernel=0"):
        One(table, 1, {"kernel": 0})  # type: ignore[arg-type]


def test_models_are_checked_however_they_are_built() -> None:
    for make in (MODELS.build, lambda name, values: MODELS.get(name)(**values)):
        with pytest.raises(UserError, match="model.decoder.kernel=0: expected a whole number from 1 to 1024"):
            make("vqvae", {"n_features": 10, "decoder": {"kernel": 0}})


def test_expectations_are_words() -> None:
    assert expectation(Annotated[Whole, Field(ge=2, le=8)] | None) == "a whole number from 2 to 8, or null"
    assert expectation(Place | None) == "a path, or null"
    assert expectation(tuple[Share, Share]) == "a list of 2, each a number from 0 to 1"
