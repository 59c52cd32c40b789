"""`python convert.py ckpt=... src=... tgt=...`: one clip, a list, a folder or a glob into the voice of the target."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from revoice.cli.app import device, required, run, several
from revoice.cli.quoting import with_griffin_lim, without_dashes
from revoice.errors import UserError, printable

if TYPE_CHECKING:
    from revoice.cli.watch import Watcher
    from revoice.conversion.adaptation import Voice
    from revoice.conversion.converter import Converter
    from revoice.conversion.jobs import Result
    from revoice.conversion.outputs import Job, Sources, Target
    from revoice.conversion.veil import Veil

EXAMPLE = "python convert.py src=a.wav tgt=b.wav"
UNTRAINED = "python convert.py model=random_cnn src=a.wav tgt=b.wav"
KEYS = (
    "ckpt", "model", "features", "src", "tgt", "out", "name", "device", "vocoder", "adapt", "controls", "hydra",
    "voice", "voices", "workers", "f0", "paths",
)  # fmt: skip
HIDING = "python convert.py src=clips voice=pseudo out=hidden"
IDLE = {"pseudo": ("ckpt", "gender"), "sample": ("far",)}  # settings of `voices` that each way of choosing does not use


def check(values: dict[str, Any]) -> None:
    """Refuse what cannot be converted with, in one line, before a model is loaded."""
    from revoice.checkpoint.load import DEFAULT
    from revoice.cli.systems import Speaking
    from revoice.conversion.adaptation import Adaptation
    from revoice.conversion.outputs import NAME, require_pattern
    from revoice.conversion.pseudo import PseudoVoices
    from revoice.settings import Processes, Word, Words, checked, from_config, from_mapping

    checked(Literal["pseudo", "sample"] | None, values.get("voice"), "voice")
    how = from_mapping(PseudoVoices, values.get("voices") or {}, "voices")
    _require_use(values.get("voice"), asdict(how), asdict(PseudoVoices()))
    moved = Adaptation.of(values.get("adapt") or 0)
    for name, value in asdict(moved).items():
        if not moved.steps and value != getattr(Adaptation(), name):
            raise UserError(f"adapt.{name}={value} does nothing without steps: add adapt.steps=20")
    checked(Processes | None, values.get("workers"), "workers")
    require_pattern(checked(Word, values.get("name", NAME), "name"))
    for key in ("src", "tgt"):
        checked(Words | None, values.get(key), key)
    speaks = values.get("ckpt") or (None if values.get("model") else DEFAULT)
    from_config(Speaking, {**values, "ckpt": speaks})


def _require_use(voice: str | None, given: dict[str, Any], default: dict[str, Any]) -> None:
    """Refuse settings of `voices` that would do nothing."""
    for name, value in given.items():
        if value != default[name] and (voice is None or name in IDLE[voice]):
            others = " or ".join(f"voice={kind}" for kind, idle in IDLE.items() if name not in idle)
            raise UserError(
                f"voices.{name}={value} does nothing {f'with voice={voice}' if voice else 'alone'}: add {others}"
            )


def task(values: dict[str, Any], folder: Path) -> list[Path]:
    """Convert all sources; returns the files written."""
    if values.get("ckpt") and values.get("model"):
        raise UserError(f"ckpt= and model= both say what converts: give one; for example: {EXAMPLE} or {UNTRAINED}")
    if not values.get("model") and values.get("features"):
        from revoice.checkpoint.vocoder import check_vocoder

        check_vocoder(values.get("vocoder"))  # whose yaml, if it has no weights yet, also sets the features to train on
        raise UserError("a checkpoint has its own features: leave features= out")
    sources = required(values, "src", EXAMPLE)
    if not values.get("voice") and not values.get("ckpt") and not values.get("model"):
        required(values, "tgt", EXAMPLE)  # the others may speak without
    check(values)

    from revoice.checkpoint.load import DEFAULT
    from revoice.cli.systems import from_checkpoint, from_settings
    from revoice.conversion.jobs import note_skipped
    from revoice.conversion.outputs import check_out, find_sources, plan

    where = device(values["device"] or _suited(values.get("model")))
    out = check_out(str(values["out"] or default_out(values)))
    ckpt = values.get("ckpt") or (None if values.get("model") else DEFAULT)
    converter = None if ckpt else from_settings(values, where)
    found = find_sources(several(sources), out)
    converter = converter or from_checkpoint(str(ckpt), values, where)
    if not values.get("ckpt") and not values.get("model"):
        print("no ckpt= is given: the converter that ships speaks (docs/voice.md)", file=sys.stderr)
    targets = _targets(values, converter, found, out)
    jobs = plan(found, targets, out, values["name"], _veil(values, converter))
    if found.left_out:
        print(f"{found.left_out} conversions are no sources: name them to convert them again", file=sys.stderr)
    for job in jobs:
        if job.taken:
            print(f"{job.taken.name} is taken: {job.source.name} becomes {job.out.name}", file=sys.stderr)
    hear = _heard_before(converter, targets)
    if not converter.spec.phase:  # which needs no vocoder
        print(spoken(converter), file=sys.stderr, flush=True)
    began = time.perf_counter()
    result = _convert(converter, jobs, targets, values.get("workers"), hear)
    seconds = time.perf_counter() - began
    note_skipped(out.parent if jobs[0].out == out else out, jobs, result)
    _tell(result, jobs, seconds)
    return [job.out for job in jobs if job.out in {*result.written, *result.kept}]


def _suited(model: dict[str, Any] | None) -> str | None:
    """The CPU for a model whose files are best converted in processes side by side; None: the best device there is."""
    from revoice.models.base import MODELS, ConversionModel

    kind = MODELS.get(MODELS.named(model, "model")[0]) if model else None
    return "cpu" if kind and issubclass(kind, ConversionModel) and kind.side_by_side else None


def default_out(values: dict[str, Any]) -> Path:
    """`outputs/convert/DATE_TIME_REQUEST`: of the first time that the same was asked for, so that it goes on there."""
    asked = {key: value for key, value in values.items() if key not in ("out", "device", "workers")}
    mark = sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:8]
    above, now = Path("outputs") / "convert", datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return max((path for path in above.glob(f"*_{mark}") if path.is_dir()), default=above / f"{now}_{mark}")


def spoken(converter: "Converter") -> str:
    """Which vocoder speaks, and whether it is the one that the model's checkpoint names."""
    from revoice.checkpoint.load import WEIGHTS

    how, named = converter.vocoder.settings, converter.loaded.description.data.get("vocoder")
    said = f"vocoder: {converter.vocoder.name}"
    if "checkpoint" in how:
        ships = Path(how["checkpoint"]).parent == WEIGHTS
        said += ", the one that ships" if ships else f" ({how['checkpoint']})"
    if isinstance(named, dict) and named.get("sha256") != how.get("sha256"):
        said += f"; the model was evaluated with the {named.get('name')} {named.get('sha256')}, which is another"
    return printable(said)


def _targets(
    values: dict[str, Any], converter: "Converter", found: "Sources", out: Path
) -> "Target | dict[Path, Target]":
    """The voice of all sources, or of each."""
    from revoice.conversion.outputs import Target, find_target

    name, hidden = converter.model.name, values.get("voice")
    if hidden and values.get("tgt"):
        raise UserError(f"tgt= and voice={hidden} both say whose voice it is to be: give one; for example: {HIDING}")
    if converter.model.target == "none":
        if hidden or values.get("tgt"):
            raise UserError(f"model {name} takes no target voice: leave {'voice=' if hidden else 'tgt='} out")
        return Target([], name)
    if hidden:
        from revoice.cli.hiding import hidden_voices

        return hidden_voices(values, converter, found)
    if converter.model.alone and not values.get("tgt"):
        return Target([], name)
    targets = required(values, "tgt", EXAMPLE)
    return find_target(several(targets), out, by_name=converter.model.target == "speaker")


def _veil(values: dict[str, Any], converter: "Converter") -> "Veil | None":
    """What lies over the records of a command that hides who speaks."""
    from revoice.conversion.outputs import require_pattern
    from revoice.conversion.veil import Veil

    hides = values.get("voice") or converter.model.hides or "hidden" in require_pattern(values["name"])
    return Veil.of_user() if hides else None


def _heard_before(converter: "Converter", targets: "Target | dict[Path, Target]") -> "Callable[..., Voice] | None":
    """What gives the voices of a model's table, which are looked up before anything is said; None for recordings.

    Raises:
        UserError: the table lacks a name.
    """
    from revoice.conversion.outputs import Target

    if converter.model.target != "speaker":
        return None
    several = [targets] if isinstance(targets, Target) else targets.values()
    known = {target.label: converter.voice(target.clips) for target in several}
    return lambda _, target: known[target.label]


def _convert(
    converter: "Converter",
    jobs: "list[Job]",
    targets: "Target | dict[Path, Target]",
    workers: int | None,
    hear: "Callable[..., Voice] | None" = None,
) -> "Result":
    """Every job, voice by voice, in this process or in several that share all of them and hear voices themselves."""
    from revoice.conversion.jobs import Result, bar, convert_files, voice_of
    from revoice.conversion.outputs import Target

    show, controls = sys.stderr.isatty(), converter.controls({})
    one = targets if isinstance(targets, Target) else None
    pairs = [(job, one or targets[job.source]) for job in jobs]  # type: ignore[index]
    if count := _processes(converter, workers, len(jobs)):
        from revoice.conversion.side_by_side import convert_side_by_side

        return convert_side_by_side(converter, pairs, controls, count, show, _watched)
    groups: dict[int, tuple[Target, list[Job]]] = {}
    for job, target in pairs:
        groups.setdefault(id(target), (target, []))[1].append(job)
    whole = Result()
    with bar(len(jobs), show) as advance:
        for target, own in groups.values():
            # one bar at a time: of the files, or of the iterations of a single one
            with _watched(converter, target, show and len(jobs) == 1) as watcher:
                heard = hear or voice_of
                whole.add(convert_files(converter, own, target, controls, watch=watcher, advance=advance, hear=heard))
    return whole


def _watched(converter: "Converter", target: "Target", show: bool = False) -> "AbstractContextManager[Watcher | None]":
    """Who watches the model, if there is anything to be seen."""
    from revoice.models.base import IteratingModel

    if not isinstance(converter.model, IteratingModel):
        return nullcontext()
    from revoice.cli.watch import Watcher

    return Watcher(converter.model, target.clips, show)


def _processes(converter: "Converter", workers: int | None, jobs: int) -> int:
    if workers is None and not converter.model.side_by_side:
        return 0
    from revoice.conversion.side_by_side import processes

    return processes(converter, workers, jobs)


def _tell(result: "Result", jobs: "list[Job]", seconds: float) -> None:
    """Print what came of it."""
    for path in (job.out for job in jobs if job.out in {*result.written, *result.kept}):
        print(path)
    if result.kept:
        print(
            f"{len(result.kept)} of {len(jobs)} were there, made by the same model and settings: not converted again",
            file=sys.stderr,
        )
    for skipped in result.skipped:
        print(f"skipped: {skipped.reason}", file=sys.stderr)
    if not result.written and not result.kept:
        raise UserError(
            result.skipped[0].reason if len(result.skipped) == 1 else f"none of {len(jobs)} sources could be converted"
        )
    if len(jobs) > 1:
        kept = f", {len(result.kept)} kept" if result.kept else ""
        print(
            f"{len(result.written)} converted{kept}, {len(result.skipped)} skipped, "
            f"{result.seconds / seconds:.1f}x real time"
        )


def main() -> None:
    """Entry point of `revoice-convert`: settings that are not the command's own are the model's controls."""
    sys.argv = [sys.argv[0], *as_settings(sys.argv[1:])]
    run("convert", task)


def as_settings(arguments: Sequence[str]) -> list[str]:
    """What was typed, with or without dashes, by the names that the configuration has.

    >>> as_settings(["src=a.wav", "--strength=0.3"])
    ['src=a.wav', '++controls.strength=0.3']
    """
    plain = without_dashes(arguments)
    hides = any(argument.startswith("voice=") for argument in plain)
    return [_as_control(argument, hides) for argument in with_griffin_lim(plain)]


def _as_control(argument: str, hides: bool = False) -> str:
    """A setting by the name that the configuration has it by; beside voice= seed and gender are those of the voices."""
    key, equals, _ = argument.partition("=")
    if hides and key in ("seed", "gender"):
        return f"voices.{argument}"
    own = key.lstrip("+~").split(".")[0] in KEYS or key.startswith("-") or not equals
    return argument if own else f"++controls.{argument}"
