"""What all commands share: Hydra around a function of plain values, and one line for a user's mistake."""

import errno
import io
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from numbers import Number
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from revoice.audio.presets import config_dir
from revoice.cli.quoting import (
    PATH_KEYS,
    SWEEPS,
    by_todays_names,
    quote_arguments,
    sweep_first,
    with_open_settings,
    with_trained_vocoder,
    without_dashes,
)
from revoice.errors import UserError, choices, is_text, one_line, printable

# epochs in iterations; at import, so that the worker processes of a launcher know it too
OmegaConf.register_new_resolver("floordiv", lambda a, b: int(a) // int(b), replace=True)
_LONGEST = 2000  # letters of a message
Task = Callable[[dict[str, Any], Path], Any]
Typed = Callable[[list[str]], list[str]]
QUESTIONS = {"--help", "-h", "--version"}  # what is answered instead of running
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # what a user can mend, wherever it strikes


def run(config_name: str, task: Task, keys: Collection[str] = PATH_KEYS, completed: Typed = list) -> Any:
    """Compose `configs/<config_name>.yaml` with the command line and call `task(plain values, run folder)`.

    `completed` adds to what was typed what follows from it.

    A `UserError`, or anything that Hydra finds wrong with the command line, ends the program with one line and
    status 2; any other exception is a bug and keeps its traceback.

    Returns:
        What the task returned (the last job's, in a sweep).
    """
    results: list[Any] = []
    began = False

    def job(config: DictConfig) -> Any:
        nonlocal began
        began = True
        _configure_logging()
        try:
            values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            result = task(values, Path(HydraConfig.get().runtime.output_dir))  # type: ignore[arg-type]
            if values.get("show"):  # type: ignore[union-attr]
                _remove_unused()
        except (UserError, OmegaConfBaseException) as error:  # here, because Hydra would add lines of its own
            _fail(str(error) if isinstance(error, UserError) else explain(error, config_name))
        except OSError as error:
            if error.errno not in DISK:
                raise
            where = error.filename or HydraConfig.get().runtime.output_dir
            _fail(f"cannot write to {where}: {error.strerror}")
        results.append(result)
        return getattr(result, "objective", None)

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach the handler below
    for stream in (sys.stdout, sys.stderr):  # no name may be unprintable
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        for argument in sys.argv[1:]:
            if not is_text(argument):
                raise UserError(f"{printable(argument)}: this name is not valid UTF-8: rename the file")
        if QUESTIONS & {*sys.argv[1:]}:
            from revoice.cli.help import answer

            print(answer(sys.argv[1:], config_name))
            return None
        typed = sweep_first(completed(with_trained_vocoder(by_todays_names(without_dashes(sys.argv[1:])))))
        sys.argv = [sys.argv[0], *quote_arguments(with_open_settings(typed), keys)]
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(job)()
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except UserError as error:
        _fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _fail(explain(error, config_name))
    except (OSError, ValueError) as error:
        if began:
            from revoice.cli.sweep import end_without_a_best

            end_without_a_best(error)
            raise
        _fail(_before_it_began(error, config_name))
    return results[-1] if results else None


def _before_it_began(error: Exception, config_name: str) -> str:
    """One line for what Hydra does not find wrong, but stumbles over."""
    if isinstance(error, OSError):
        where = f"the run folder {error.filename} cannot be made ({error.strerror})"
        return f"{where}: give another as hydra.run.dir=FOLDER"
    nothing = [argument for argument in sys.argv[1:] if argument.endswith("=null")]  # a group that must be chosen
    return f"{' '.join(nothing) or error}: expected a name; {config_name}.py --help lists those of each group"


def explain(error: Exception, config_name: str = "train") -> str:
    """One line for what Hydra or OmegaConf says in many.

    >>> found = "In 'train': Could not find 'model/vqvea'"
    >>> explain(HydraException(found + "\\n\\nAvailable options in 'model':\\n\\tvqvae\\n\\tadain_vc"))
    "unknown model 'vqvea': did you mean 'vqvae'? (valid: adain_vc, vqvae)"
    """
    text = str(error)
    if match := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        options = [line.strip() for line in text.split("Available options", 1)[-1].splitlines()[1:] if line.strip()]
        options = [o for o in options if re.fullmatch(r"[\w-]+", o)]
        if match[1] in ("hydra/sweeper", "hydra/launcher"):
            hint = "for optuna, joblib and submitit: pip install 'revoice[sweeps]'"
            return f"{choices(match[2], options, match[1])}; {hint}"
        return str(choices(match[2], options, match[1]))
    if match := re.search(r"Could not override '([^']+)'", text):
        plus = f"; one that only swept groups have is typed ++{match[1]}=VALUE" if {*SWEEPS} & {*sys.argv} else ""
        return f"unknown setting '{match[1]}': {config_name}.py --help lists the groups and settings{plus}"
    if match := re.search(r"(?:Key|key) '([^']+)' is not in struct", text):
        return f"unknown setting '{match[1]}': {config_name}.py --help lists the groups and settings"
    if match := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{match[1]} is missing: type {match[1]}=VALUE"
    if match := re.search(r"Interpolation key '([^']+)' not found", text):
        group = match[1].split(".")[0]
        return f"{match[1]} is missing, which other settings refer to: choose one by {group}=NAME"
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("See https", "Set the env"))
    ]
    return "cannot read the command line: " + " ".join(lines)[:300]


def _remove_unused() -> None:
    """Take away the run folder that Hydra made before the command was found to have nothing for it."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.RUN:
        return
    folder, here = Path(HydraConfig.get().runtime.output_dir).resolve(), Path.cwd().resolve()
    notes = folder / (HydraConfig.get().output_subdir or ".")
    if notes == folder or folder == here or [*folder.iterdir()] != [notes]:
        return  # somebody's: more lies there
    shutil.rmtree(notes)
    folder.rmdir()
    for above in folder.parents:
        if not above.is_relative_to(here) or above == here or any(above.iterdir()):
            break
        above.rmdir()


def _fail(message: str) -> NoReturn:
    with suppress(OSError):
        _remove_unused()
    if os.environ.get("REVOICE_TRACEBACK"):
        raise
    print("error: " + one_line(message, _LONGEST), file=sys.stderr)
    sys.exit(2)


class _Lines(logging.Handler):
    """Prints messages as they are, to whatever standard output is at the time; words from data as `printable`."""

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple):
            record.args = tuple(a if isinstance(a, Number) else printable(a) for a in record.args)
        try:
            print(record.getMessage(), flush=True)
        except BrokenPipeError:
            raise
        except OSError:  # a full disk, where output goes to a file: no reason to end the work
            pass


def _configure_logging() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _Lines) for handler in root.handlers):
        root.addHandler(_Lines())
    root.setLevel(logging.WARNING)
    logging.getLogger("revoice").setLevel(logging.INFO)


def required(values: dict[str, Any], key: str, example: str) -> Any:
    """The value of a key that has no default; missing is a `UserError` with a command that works."""
    if values.get(key) in (None, "", []):
        raise UserError(f"{key}= is missing; for example: {example}")
    return values[key]


def several(value: Any) -> list[str]:
    """One value or a list of them, as strings.

    >>> several(225), several(["a", "b"])
    (['225'], ['a', 'b'])
    """
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def device(value: str | None) -> str:
    """The device asked for, or the best there is."""
    import torch

    if value is None:
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=value)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device={value} cannot be used here ({str(error).splitlines()[0]}): try device=cpu") from error
    return value


def to_json(value: Any) -> str:
    """Indented JSON of any value, what JSON has no form for as its `str`; ends with a newline."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
