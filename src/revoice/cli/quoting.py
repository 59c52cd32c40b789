"""File names on the command line, quoted before Hydra reads them.

Its grammar chokes on `take (1).wav` or `epoch=3.ckpt`.

>>> quote_arguments(["src=take (1).wav", "tgt=[b.wav,c d.wav]", "device=cpu"], {"src", "tgt"})
["src='take (1).wav'", "tgt=['b.wav','c d.wav']", 'device=cpu']
"""

import re
from collections.abc import Collection, Sequence

from revoice import renamed
from revoice.errors import UserError

# keys whose values are paths, or lists of paths, in any command
PATH_KEYS = frozenset(
    {"ckpt", "src", "tgt", "out", "name", "path", "init_from", "ckpt_path", "data.root", "data.corpus.csv",
     "data.streaming.address", "data.prepare.fields.posteriors.teacher", "facts", "paths.data_dir",
     "paths.output_dir", "paths.prepared_dir", "data.generated_by", "evaluation.protocol", "evaluation.cache",
     "model.content_from"}
)  # fmt: skip
PATHS = (".ckpt", ".command", ".init_from", ".path", ".pool")  # what the others end with, wherever they are
SWEEPS = ("-m", "--multirun")
# settings below which an entry of a registry names its own: yaml has those of the entry that it chooses
OPEN = ("data.prepare.fields.",)
_SWEEP = re.compile(r"^(choice|range|interval|glob|shuffle|sort|tag|str)\(.*\)$")  # Hydra's own functions stay Hydra's
_PART = re.compile(r"^data\.parts\.\w+\.")
_KEYWORDS = {"null"}
_FLAGS = frozenset(  # Hydra's own that take a value
    {"--cfg", "--package", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info"}
)


def without_dashes(arguments: Sequence[str]) -> list[str]:
    """Settings as programs like `wandb agent` type them.

    >>> without_dashes(["--optimizer.lr=1e-3", "--cfg=job", "--multirun", "seed=1"])
    ['optimizer.lr=1e-3', '--cfg=job', '--multirun', 'seed=1']
    """
    own = (a.startswith("--") and "=" in a and a.partition("=")[0] not in _FLAGS for a in arguments)
    return [a[2:] if mine else a for a, mine in zip(arguments, own, strict=True)]


def sweep_first(arguments: Sequence[str]) -> list[str]:
    """The same, with `-m` in front: among settings, Hydra takes those behind it for a mistake.

    >>> sweep_first(["seed=0,1", "-m", "optimizer.lr=1e-3"])
    ['-m', 'seed=0,1', 'optimizer.lr=1e-3']
    """
    return sorted(arguments, key=lambda argument: argument not in SWEEPS)


def by_todays_names(arguments: Sequence[str]) -> list[str]:
    """The same settings, renamed ones by their new names; controls of a model are the model's to rename."""
    pairs = (argument.partition("=") for argument in arguments)
    return [
        (key if key.startswith("++controls.") else renamed.setting(key)) + sign + value for key, sign, value in pairs
    ]


def with_open_settings(arguments: Sequence[str]) -> list[str]:
    """The same settings; Hydra is told of those that yaml need not have, which are checked by name where they are read.

    >>> with_open_settings(["data.prepare.fields.f0.method=network", "seed=1"])
    ['++data.prepare.fields.f0.method=network', 'seed=1']
    """
    return ["++" + argument if argument.startswith(OPEN) and "=" in argument else argument for argument in arguments]


def with_griffin_lim(arguments: Sequence[str]) -> list[str]:
    """Settings of a vocoder that nobody names are Griffin-Lim's.

    >>> with_griffin_lim(["src=a.wav", "vocoder.iterations=100"])
    ['src=a.wav', 'vocoder.iterations=100', 'vocoder=griffin_lim']
    """
    keys = {argument.partition("=")[0].lstrip("+~") for argument in arguments}
    own = any(key.startswith("vocoder.") for key in keys) and not keys & {"vocoder", "vocoder.ckpt", "vocoder.name"}
    return [*arguments, *(["vocoder=griffin_lim"] if own else [])]


def with_trained_vocoder(arguments: Sequence[str]) -> list[str]:
    """Where `vocoder.ckpt=` is given, the vocoder is what lies there, with its own sizes, and `vocoder=` is its name.

    >>> with_trained_vocoder(["vocoder=vocos", "vocoder.ckpt=outputs/v"])
    ['vocoder=trained', 'vocoder.name=vocos', 'vocoder.ckpt=outputs/v']
    """
    if not any(a.startswith("vocoder.ckpt=") and a not in ("vocoder.ckpt=", "vocoder.ckpt=null") for a in arguments):
        return list(arguments)
    names = [a.removeprefix("vocoder=") for a in arguments if a.startswith("vocoder=")]
    rest = [a for a in arguments if not a.startswith("vocoder=")]
    return ["vocoder=trained", *(f"vocoder.name={name}" for name in names), *rest]


def quote_arguments(arguments: Sequence[str], keys: Collection[str] = PATH_KEYS) -> list[str]:
    """Quote the values of path keys; all else is as typed, on one line. Quoting twice changes nothing.

    >>> quote_arguments(["schedule=[{turns: a},\\n   {turns: b}]"])
    ['schedule=[{turns: a}, {turns: b}]']
    """
    return [_quote_argument(argument, keys) for argument in arguments]


def quoted(value: str) -> str:
    """A string literal of Hydra's override grammar with this value.

    >>> print(quoted("it's.wav"))
    'it\\'s.wav'
    """
    value = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", value)  # not an interpolation
    value = re.sub(r"(\\*)(')", lambda m: m[1] * 2 + r"\'", value)
    value = re.sub(r"(\\+)$", lambda m: m[1] * 2, value)
    return f"'{value}'"


def _quote_argument(argument: str, keys: Collection[str]) -> str:
    key, equals, value = argument.partition("=")
    name = key.lstrip("+~")
    part = _PART.sub("data.", name)  # of a mixture
    if not equals or not (name in keys or part in keys or name.endswith(PATHS)) or argument.startswith("-"):
        return re.sub(r"\s*\n\s*", " ", argument)  # no end of a line is in Hydra's grammar
    if value == "" or value in _KEYWORDS or _SWEEP.match(value) or _is_quoted(value):
        return argument
    if value.startswith("[") and value.endswith("]"):
        return f"{key}=[{','.join(_quote_item(item) for item in _items(value[1:-1]))}]"
    return f"{key}={quoted(value)}"


def _quote_item(item: str) -> str:
    return item if _is_quoted(item) else quoted(item)


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def _items(text: str) -> list[str]:
    """Split a list at its commas, outside of quotes; a backslash keeps a comma in a name."""
    items = [item.strip() for item in re.findall(r"""((?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\\,|[^,])+)""", text)]
    if text.strip() and not items:
        raise UserError(f"cannot read the list [{text}]: expected names separated by commas, e.g. tgt=[b.wav,c.wav]")
    return [item.replace("\\,", ",") for item in items]
