"""Runs in which parts and critics learn in turns."""

import csv
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.errors import UserError
from revoice.training.adversary import draw_critic, take_critics
from revoice.training.module import VoiceModule
from revoice.training.run import train
from tests.integration.adversarial import SCHEDULE, config


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def same(mine: Any, theirs: Any, where: str = "") -> None:
    """Bit for bit."""
    if isinstance(theirs, torch.Tensor):
        assert torch.equal(mine, theirs), where
    elif isinstance(theirs, dict):
        assert mine.keys() == theirs.keys(), where
        for key in theirs:
            same(mine[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, list | tuple):
        for number, pair in enumerate(zip(mine, theirs, strict=True)):
            same(*pair, f"{where}/{number}")
    else:
        assert mine == theirs, where


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_kind_of_moment_can_be_resumed(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    """A power cut in three phases, between them, and where a gate moves: what goes on ends as what did not stop."""
    monkeypatch.setattr("revoice.training.schedule.SMOOTHING", 0.2)  # so that the gate moves in a few iterations
    more = ["max_iterations=12", f"trainer.accumulate={accumulate}", "trainer.clip=1.0"]
    settings = config(workplace, *more, "trainer.val_every=1")
    states: list[dict[str, Any]] = []
    step, count = VoiceModule.training_step, VoiceModule._count

    def keep(self: VoiceModule, batches: Any, index: int) -> None:
        if self.iteration:
            shutil.copy(tmp_path / "whole" / "checkpoints" / "last.ckpt", tmp_path / f"{self.iteration}.ckpt")
        step(self, batches, index)

    def count_and_keep(self: VoiceModule, *arguments: Any) -> None:
        count(self, *arguments)
        states.append(self.schedule.state_dict())

    with monkeypatch.context() as patched:
        patched.setattr(VoiceModule, "training_step", keep)
        patched.setattr(VoiceModule, "_count", count_and_keep)
        train(settings, tmp_path / "whole")
    assert [state["phase"] for state in states] == [0] * 2 + [1] * 3 + [2] * 7
    assert {tuple(state["closed"]) for state in states[5:]} == {(), ("patch",)}, "the gate closes and opens"
    opens = any(a["closed"] and not b["closed"] for a, b in pairwise(states))
    assert opens or accumulate > 1  # whose dropout is another

    def place(state: dict[str, Any]) -> Any:
        return state["phase"], state["closed"]

    turns = [done for done, (a, b) in enumerate(pairwise(states), start=2) if place(a) != place(b)]
    assert {3, 6} < set(turns), "both switches of the phase, and one of the gate"
    for done in sorted({1, 4, *turns} - {12}):
        folder = tmp_path / f"from_{done}"
        train({**settings, "ckpt_path": str(tmp_path / f"{done}.ckpt")}, folder)
        resumed_as(last(folder), last(tmp_path / "whole"), done)

    def die(self: VoiceModule, batches: Any, index: int) -> None:
        if self.iteration == 10:
            raise RuntimeError("power cut")
        step(self, batches, index)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="power cut"):
        patched.setattr(VoiceModule, "training_step", die)
        train({**settings, "ckpt_path": str(tmp_path / "9.ckpt")}, tmp_path / "cut")
    assert last(tmp_path / "cut")["global_step"] == 10
    train({**settings, "ckpt_path": "auto"}, tmp_path / "cut")
    resumed_as(last(tmp_path / "cut"), last(tmp_path / "whole"), 10)


def resumed_as(mine: dict[str, Any], theirs: dict[str, Any], done: int) -> None:
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "schedule", "global_step"):
        same(mine[name], theirs[name], f"{done}/{name}")


def test_micro_batches_give_what_one_batch_gives(workplace: Path, tmp_path: Path) -> None:
    found = []
    for accumulate in (1, 4):
        settings = config(workplace, "max_iterations=8", f"trainer.accumulate={accumulate}", "trainer.clip=1.0")
        settings["model"]["dropout"] = 0.0  # which draws for each micro-batch
        train(settings, tmp_path / str(accumulate))
        found.append(last(tmp_path / str(accumulate))["state_dict"])
    for name, value in found[0].items():
        assert torch.allclose(found[1][name], value, atol=2e-5), name


def test_parts_have_learned_and_rested_as_scheduled(workplace: Path, tmp_path: Path) -> None:
    def weights(iterations: int, schedule: Any) -> dict[str, torch.Tensor]:
        folder = tmp_path / f"{iterations}_{len(schedule)}"
        settings = config(workplace, f"max_iterations={iterations}", schedule=schedule)
        settings["optimizer"]["schedule"] = {}  # a cosine would fall faster in a shorter run
        train(settings, folder)
        return last(folder)["state_dict"]

    def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
        return {name.split(".")[1] for name in after if not torch.equal(before[name], after[name])}

    first, second = weights(3, SCHEDULE[:1]), weights(6, SCHEDULE[:2])
    assert moved(first, second) == {"patch", "plain", "listener"}
    assert moved(second, weights(7, SCHEDULE)) == {"patch", "plain", "generator", "listener"}


def test_the_generator_runs_once_where_its_weights_have_not_changed(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.toys import Pair

    played: list[str] = []
    play = Pair.play

    def counted(self: Pair, batch: Any, part: str = "generator") -> Any:
        if self.training:
            played.append(part)
        return play(self, batch, part)

    monkeypatch.setattr(Pair, "play", counted)
    train(config(workplace, "max_iterations=2", schedule=SCHEDULE[2:]), tmp_path)
    assert played == ["generator", "listener"] * 2  # two critics and the generator itself share one play


def test_the_model_is_averaged_and_the_critics_are_not(workplace: Path, tmp_path: Path) -> None:
    settings = config(workplace, "max_iterations=8", "callbacks.ema={decay: 0.5}", "trainer.val_every=4")
    train(settings, tmp_path / "whole")
    content = last(tmp_path / "whole")
    mean, raw = content["state_dict"], content["current_model_state"]
    moved = {name.split(".")[0] for name in mean if not torch.equal(mean[name], raw[name])}
    assert moved == {"model"}
    train({**settings, "max_iterations": 4}, tmp_path / "cut")
    half = last(tmp_path / "cut")
    assert not torch.equal(half["state_dict"]["model.listener.bias"], mean["model.listener.bias"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schedule": [{"turns": [{"part": "genrator"}]}]}, "did you mean 'generator'"),
        ({"critics": {"patch": {"name": "toy", "of": "pitch"}}}, "critics.patch.of"),
        ({"critics": {"patch": {"name": "tou"}}}, "did you mean 'toy'"),
        ({"critics": {"patch": {"name": "toy", "kind": "gan"}}}, "critics.patch.kind"),
        ({"critics": {"patch": {"name": "toy", "width": 0.5}}}, "critics.patch.width"),
        ({"optimizers": {"patch": {"lr": -1}}}, "optimizer.lr"),
        ({"schedule": [{"turns": [{"part": "patch", "losses": {"penlty": 1}}]}]}, "did you mean 'penalty'"),
        ({"loss": None, "schedule": None}, "loss is missing"),
        ({"schedule": [{"turns": [{"part": "patch"}]}]}, "monitor=val/loss says nothing.*val/accuracy/patch"),
    ],
)
def test_mistakes_are_one_line(workplace: Path, tmp_path: Path, change: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        train({**config(workplace, "max_iterations=2"), **change}, tmp_path)


def test_critics_learn_from_stored_samples(workplace: Path, tmp_path: Path, trained: Path) -> None:
    """What a trained model made of each utterance is computed once, found again, and judged."""
    plain = [{"batches": "stored", "turns": [{"part": "patch"}]}]
    settings = config(workplace, "max_iterations=4", schedule=plain)
    settings["data"]["generated_by"] = str(trained)
    settings["callbacks"]["checkpoint"] = {"monitor": "val/accuracy/patch", "mode": "max"}
    paths = {**settings["paths"], "prepared_dir": str(tmp_path / "prepared")}  # where nobody else stored any
    settings["paths"] = paths
    first = train(settings, tmp_path / "first")
    assert first.metrics["train/critic/patch"] > 0
    before = last(tmp_path / "first")
    after = {**config(workplace, "max_iterations=4", schedule=plain), "paths": paths}
    fields = [*(tmp_path / "prepared").glob("*/*/generated-*")]
    assert len(fields) == 1
    changed = fields[0].stat().st_mtime
    train({**after, "data": settings["data"], "callbacks": settings["callbacks"]}, tmp_path / "second")
    assert fields[0].stat().st_mtime == changed
    same(last(tmp_path / "second")["state_dict"], before["state_dict"])
    wrong = config(workplace, schedule=[{"batches": "stored", "turns": [{"part": "generator"}]}])
    with pytest.raises(UserError, match="cannot learn from stored samples"):
        train({**wrong, "data": settings["data"]}, tmp_path / "no")
    with pytest.raises(UserError, match="data.generated_by=CHECKPOINT"):
        train({**config(workplace, schedule=plain), "callbacks": settings["callbacks"]}, tmp_path / "none")


def test_live_samples_of_a_phase_of_critics_alone_are_those_of_the_model_as_it_was(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What storing them when the phase begins would give, but for new draws in every iteration."""
    seen: list[bool] = []
    take = VoiceModule._take
    kept: dict[str, torch.Tensor] = {}

    def watched(self: VoiceModule, due: Any, number: int, plays: Any) -> Any:
        if self.schedule.number == 1 and due.turn.part == "patch":
            now = self.model.state_dict()
            kept.update({} if kept else {name: value.clone() for name, value in now.items()})
            fake = plays.of(number, 0).fake
            assert fake is not None and not fake.requires_grad
            seen.append(all(torch.equal(kept[name], now[name]) for name in now))
        return take(self, due, number, plays)

    monkeypatch.setattr(VoiceModule, "_take", watched)
    phases = [SCHEDULE[0], {"iterations": 4, "turns": [{"part": "patch"}]}, SCHEDULE[2]]
    train(config(workplace, "max_iterations=8", schedule=phases), tmp_path)
    assert seen == [True] * 4


def test_a_new_run_goes_on_with_the_critics_of_a_checkpoint(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config(workplace, "max_iterations=2"), tmp_path / "first")
    begun: list[dict[str, torch.Tensor]] = []
    start = VoiceModule.on_train_start

    def kept(self: VoiceModule) -> None:
        begun.append({name: value.clone() for name, value in self.critics.state_dict().items()})
        start(self)

    monkeypatch.setattr(VoiceModule, "on_train_start", kept)
    ckpt = tmp_path / "first" / "checkpoints" / "last.ckpt"
    settings = config(workplace, "max_iterations=1", f"init_from={ckpt}")
    wider = {**settings["critics"]["plain"], "width": 7}
    train({**settings, "critics": {**settings["critics"], "plain": wider}}, tmp_path / "second")
    before = {name.removeprefix("critics."): value for name, value in last(tmp_path / "first")["state_dict"].items()}
    same_as = {name: torch.equal(value, before[name]) for name, value in begun[0].items() if "patch" in name}
    assert same_as and all(same_as.values())
    assert any(value.shape != before[name].shape for name, value in begun[0].items() if "plain" in name)


def test_a_critic_that_is_not_finite_begins_anew_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    critics = torch.nn.ModuleDict({"c": draw_critic("c", {"name": "code"}, 0, {"channels": 2, "classes": 2})})
    broken = {f"c.{name}": torch.full_like(value, torch.nan) for name, value in critics["c"].state_dict().items()}
    monkeypatch.setattr("revoice.training.adversary.critics_of", lambda path: broken)
    with caplog.at_level("INFO"):
        take_critics(critics, Path("last.ckpt"))
    assert "begins anew" in caplog.text and "goes on" not in caplog.text
    assert all(bool(value.isfinite().all()) for value in critics.state_dict().values())


def test_what_a_validation_decides_belongs_to_the_checkpoint_of_its_iteration(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phase that ends by a validation, and early stopping: going on from its iteration is as not having stopped."""
    first = {
        "until": "val/generator/reconstruction < 1e6",
        "turns": [{"part": "generator", "losses": {"reconstruction": 1}}],
    }
    settings = config(
        workplace, "max_iterations=8", "trainer.val_every=2", schedule=[first, {"turns": [{"part": "listener"}]}]
    )
    settings["callbacks"]["early_stopping"] = {"monitor": "val/generator/reconstruction", "patience": 2}
    step = VoiceModule.training_step

    def keep(self: VoiceModule, batches: Any, index: int) -> None:
        if self.iteration == 2:
            shutil.copy(tmp_path / "whole" / "checkpoints" / "last.ckpt", tmp_path / "2.ckpt")
        step(self, batches, index)

    with monkeypatch.context() as patched:
        patched.setattr(VoiceModule, "training_step", keep)
        train(settings, tmp_path / "whole")
    whole = last(tmp_path / "whole")
    assert whole["schedule"]["phase"] == 1 and whole["schedule"]["began"] == 2
    train({**settings, "ckpt_path": str(tmp_path / "2.ckpt")}, tmp_path / "resumed")
    resumed_as(last(tmp_path / "resumed"), whole, 2)
    stopping = [next(v for k, v in each["callbacks"].items() if "EarlyStopping" in k)
                for each in (last(tmp_path / "resumed"), whole)]  # fmt: skip
    assert stopping[0] == stopping[1]


def test_a_part_that_learns_now_and_then_is_logged_as_it_was_last(workplace: Path, tmp_path: Path) -> None:
    turns = [{"part": "listener"}, {"part": "generator", "losses": {"reconstruction": 1}, "every": 2}]
    settings = config(workplace, "max_iterations=8", "trainer.log_every=4", "logger=csv", schedule=[{"turns": turns}])
    train(settings, tmp_path)
    with (tmp_path / "logs" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        found = [line["train/generator/loss"] for line in csv.DictReader(file) if line["train/generator/loss"]]
    assert len(found) == len(set(found)) == 2, "of iterations 3 and 7, learned in 2 and 6"
