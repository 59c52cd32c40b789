"""Going on from a training checkpoint, which may be damaged or hostile like any other file."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from revoice.checkpoint.description import KEY, Description
from revoice.checkpoint.fit import require_fit
from revoice.checkpoint.load import find_checkpoint, read_checkpoint, weights_in
from revoice.data.datamodule import DataModule
from revoice.errors import UserError, one_line
from revoice.models.base import Trainable
from revoice.training.stop import Stop
from revoice.untrusted import refused

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resume:
    """A training checkpoint that was found in order.

    Attributes:
        path: where it is.  done: the iterations by then.  about: what it says of itself.
        over: whether there is nothing left to do, which is no mistake of `ckpt_path=auto`.
    """

    path: Path
    done: int
    about: Description
    over: bool = False


def resume_from(
    value: Any, folder: Path, iterations: int, model: Trainable, description: Description, phases: int = 1
) -> Resume | None:
    """`ckpt_path`: None, a run folder, a file, or a word.

    "last" is the newest run beside this one that has a checkpoint; "auto" is this run folder itself if it has a
    checkpoint, else nothing: what a scheduler may start again and again, also when all is done.

    Args:
        value: of the setting.  folder: of the run.  iterations: of the run.  phases: of its schedule.
        model, description: what the checkpoint must fit.

    Raises:
        UserError: a file that is no checkpoint of such a run, one of data with other names where the model has a row
            or a class for each, or one that is at its end (but for "auto").
    """
    if not value:
        return None
    auto = value == "auto"
    if auto:
        value = folder / "checkpoints" / "last.ckpt"
        if not value.is_file():
            return None
    if value == "last":
        found = [*folder.glob("checkpoints/last.ckpt"), *folder.parent.glob("*/checkpoints/last.ckpt")]
        if not found:
            raise UserError(f"ckpt_path=last: no earlier run in {folder.parent} has checkpoints/last.ckpt")
        path = max(found, key=lambda file: file.stat().st_mtime)
    else:
        given = Path(value).expanduser()
        last = given / "checkpoints" / "last.ckpt"
        path = last if last.is_file() else find_checkpoint(given)
    with refused(path, "training checkpoint that can be resumed"):
        state = read_checkpoint(path)
        done, about = state.get("global_step"), Description.from_dict(state[KEY])
        schedule = state.get("schedule") or {}
        ended = bool(schedule.get("over")) and schedule.get("phase") == phases - 1
        if not isinstance(done, int) or done < 0 or ("optimizer_states" not in state and not auto):
            raise UserError("not a training checkpoint that can be resumed: init_from= starts a new run from it")
    _require_alike(path, model, description, about)
    if auto and (ended or done >= iterations):
        return Resume(path, done, about, over=True)
    if ended:
        raise UserError(f"ckpt_path={path}: the last phase of its schedule is over: add a phase to go on")
    if done >= iterations:
        raise UserError(
            f"ckpt_path={path} is at iteration {done}, max_iterations is {iterations}: raise max_iterations to go on"
        )
    if "optimizer_states" not in state:
        raise UserError(f"ckpt_path=auto: {path} holds weights alone: init_from= starts a new run from it")
    with refused(path, "training checkpoint that can be resumed"):
        require_fit(model.state_dict(), weights_in(state), description.model)
    log.info("resuming from %s at iteration %d", path, done)
    return Resume(path, done, about)


def _require_alike(path: Path, model: Trainable, mine: Description, theirs: Description) -> None:
    """Refuse another model, and other names than those in the tables that it has."""
    own, other = mine.to_dict(), theirs.to_dict()
    tables = {"emotions": [_names(each["arguments"].get("emotions")) for each in (own, other)]}
    if "n_speakers" in mine.arguments or model.speaker_pitch:
        tables["speakers"] = [mine.speakers, theirs.speakers]
    for what, (here, there) in tables.items():
        if here != there and mine.model == theirs.model:
            differing = one_line(", ".join(sorted({*here} ^ {*there})), 60)
            raise UserError(
                f"ckpt_path={path} was trained with other {what} than the data has (not in both: {differing}): "
                "give the same data=, or init_from= starts a new run"
            )
    for name in ("model", "arguments", "features"):
        if own[name] != other[name]:
            raise UserError(
                f"ckpt_path={path} was trained with other {name}: give the same model=, features= and settings"
            )


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


class resumed:
    """Lets the data start at the iteration the checkpoint was written at.

    What fails before training begins, fails because of it: the state of optimizer, loops and callbacks is Lightning's
    to understand.
    """

    def __init__(self, data: DataModule, resume: Resume | None, stop: Stop) -> None:
        self.data, self.resume, self.stop = data, resume, stop

    def __enter__(self) -> None:
        if self.resume:
            self.data.start_iteration = self.resume.done

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.data.start_iteration = 0
        expected = isinstance(error, UserError | torch._dynamo.exc.TorchDynamoException)
        if self.resume and isinstance(error, Exception) and not expected and not self.stop.began:
            reason = one_line(str(error) or type(error).__name__, 160)
            raise UserError(
                f"ckpt_path={self.resume.path}: its training state cannot be taken up ({reason}): "
                "init_from= starts a new run from its weights"
            ) from error
