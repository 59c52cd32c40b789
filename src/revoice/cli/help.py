"""`--help` and `--version`: what a person types, read from the yaml files themselves."""

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from revoice.audio.presets import config_dir
from revoice.errors import choices
from revoice.version import __version__

_WIDTH = 118
_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w/@.]+):(?P<value>.*?)(?: # (?P<comment>.*))?$")
_EXAMPLE = re.compile(r"^# ((?:python|revoice-|make ).*)$", re.MULTILINE)
_DETAILED = ("data", "trainer", "logger", "callbacks", "metrics", "paths")  # groups whose settings are listed, too
_HIDDEN = ("name", "task")


class Setting(NamedTuple):
    """A key that can be typed, its default as the yaml has it, and the comment beside it."""

    key: str
    value: str
    comment: str


def answer(arguments: Sequence[str], config_name: str) -> str:
    """What to print instead of running, where `--version` or else `--help` is among the arguments."""
    return f"revoice {__version__}" if "--version" in arguments else help_text(config_name, arguments)


def help_text(config_name: str, arguments: Sequence[str]) -> str:
    """Usage, examples, groups, settings and the controls of the model that the arguments choose."""
    text = (config_dir() / f"{config_name}.yaml").read_text(encoding="utf-8")
    given = {key.lstrip("+~"): value for key, _, value in (a.partition("=") for a in arguments)}
    groups = {key: value for key, value in _groups(text).items() if key != "hydra"}
    chosen = {key: given.get(key, group.value) for key, group in groups.items()}
    name = Path(sys.argv[0]).name
    program = f"python {name}" if name.endswith(".py") else name
    plain = "[group=choice ...] [key=value ...]" if groups else "[key=value ...]"
    parts = [f"usage: {program} {plain}", _block("examples", [f"  {line}" for line in _EXAMPLE.findall(text)])]
    if groups:
        parts.append(_block("groups, each one a folder of yaml files (default first)", list(_choices(groups))))
    parts.append(_block("settings", _rows(settings(text))))
    if chosen.get("model") not in (None, "null"):
        path = _file("model", chosen["model"])
        parts.append(
            _block(
                f"settings of model={chosen['model']}, and what it chooses of others", _rows(_inherited(path, "model"))
            )
        )
    for group in _DETAILED:
        if (value := chosen.get(group)) not in (None, "null"):
            parts.append(_block(f"settings of {group}={value}", _rows(_inherited(_file(group, value), group))))
    if config_name in ("convert", "evaluate"):
        parts.append(_controls(config_name, given))
    parts.append("Any choice may stand beside --help, which then tells of it: model=NAME --help. --version: revoice's.")
    return "\n\n".join(part for part in parts if part)


def settings(text: str, group: str = "") -> list[Setting]:
    """The keys of a yaml file with their comments; `group` is where its keys lie, unless it says `_global_`."""
    path = [] if not group or "@package _global_" in text else [group]
    stack: list[tuple[int, str]] = []
    found = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        stack = [(depth, key) for depth, key in stack if depth < indent]
        keys = [*path, *(key for _, key in stack), match["key"]]
        stack.append((indent, match["key"]))
        if keys[0] in ("defaults", "hydra") or match["key"] in _HIDDEN:
            continue
        if match["value"].strip() or match["comment"]:
            found.append(Setting(".".join(keys), match["value"].strip(), match["comment"] or ""))
    return found


def _inherited(path: Path, group: str) -> list[Setting]:
    """The settings of a group's yaml over those of the yaml files of that group that it starts from."""
    text = path.read_text(encoding="utf-8")
    parents = [name for name in (yaml.safe_load(text) or {}).get("defaults", []) if isinstance(name, str)]
    known: dict[str, Setting] = {}
    for parent in parents:
        if parent != "_self_":
            start = config_dir() / group / f"{parent.removesuffix('@_here_')}.yaml"
            known |= {setting.key: setting for setting in _inherited(start, group)}
    for setting in settings(text, group):
        before = known.get(setting.key)
        known[setting.key] = setting._replace(comment=setting.comment or (before.comment if before else ""))
    return list(known.values())


def _groups(text: str) -> dict[str, Setting]:
    """The groups of a command's `defaults`."""
    block = text.partition("defaults:\n")[2]
    found = {}
    for line in block.splitlines():
        match = re.match(r"^  - (\w+): ([\w.]+)(?: +# (.*))?$", line)
        if match:
            found[match[1]] = Setting(match[1], match[2], match[3] or "")
        elif not line.startswith(("  ", "#")):
            break
    return found


def _choices(groups: dict[str, Setting]) -> Iterator[str]:
    for key, group in groups.items():
        others = sorted(path.stem for path in (config_dir() / key).glob("*.yaml") if path.stem != group.value)
        yield from _wrapped(f"  {key}={', '.join([group.value, *others])}", "      ")


def _file(group: str, name: str) -> Path:
    path = config_dir() / group / f"{name}.yaml"
    if not re.fullmatch(r"[\w-]+", name) or not path.is_file():
        raise choices(name, [file.stem for file in (config_dir() / group).glob("*.yaml")], group)
    return path


def _controls(config_name: str, given: dict[str, str]) -> str:
    """What the chosen model lets a user steer at conversion: its own settings of `convert.py`."""
    from revoice.models.base import MODELS, ConversionModel

    ckpt, model = given.get("ckpt"), given.get("model")
    if model not in (None, "null"):
        name, whose = str(yaml.safe_load(_file("model", model).read_text(encoding="utf-8"))["model"]["name"]), model
    else:
        from revoice.checkpoint.load import DEFAULT, load_checkpoint

        whose = "the converter that ships" if ckpt in (None, "null") else str(ckpt)
        name = load_checkpoint(DEFAULT if ckpt in (None, "null") else str(ckpt)).description.model
    kind = MODELS.get(name)
    if not issubclass(kind, ConversionModel):
        return ""
    told = _told(kind.Controls.__doc__ or "")
    prefix = "" if config_name == "convert" else "controls."
    rows = [Setting(prefix + f.name, _shown(f.default), told.get(f.name, "")) for f in fields(kind.Controls)]
    return _block(f"controls of {whose} ({name})", _rows(rows) or ["  none"])


def _told(text: str) -> dict[str, str]:
    """What a docstring says of each attribute: `name: words`, several to a line or one over several lines."""
    words = " ".join(text.partition("Attributes:")[2].split())
    found = re.findall(r"([a-z_][\w, ]*?): (.*?)(?=(?:(?<=[.\]]) +[a-z_][\w, ]*?: )|$)", words)
    return {name.strip(): told.rstrip(".") for names, told in found for name in names.split(",")}


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def _rows(found: Sequence[Setting]) -> list[str]:
    lines: list[str] = []
    for setting in found:
        left = f"  {setting.key}={setting.value}" if setting.value else f"  {setting.key}"
        start = f"{left:<44}  " if setting.comment else left
        lines += _wrapped(start + setting.comment, " " * 46)
    return lines


def _wrapped(text: str, under: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=under, break_long_words=False, break_on_hyphens=False,
                         drop_whitespace=True, replace_whitespace=False) if len(text) > _WIDTH else [text]  # fmt: skip


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *lines]) if lines else ""
