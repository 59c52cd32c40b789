"""What `--help` and `--version` tell, and settings as other programs type them."""

import importlib
import re
import sys

import pytest

from revoice.audio.presets import config_dir
from revoice.cli.help import help_text, settings
from revoice.errors import UserError
from revoice.version import __version__

COMMANDS = ("train", "convert", "prepare", "evaluate", "import_checkpoint", "export", "try")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_what_a_person_types(name: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    module = importlib.import_module("revoice.cli.try_it" if name == "try" else f"revoice.cli.{name}")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    module.main()
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python {name}.py") and "powered by" not in text
    examples = re.findall(r"^  (?:python|revoice-|make )", text, re.MULTILINE)
    assert len(examples) >= (3 if name in ("train", "convert", "evaluate") else 1)
    own = settings((config_dir() / f"{name}.yaml").read_text())
    assert all(f"  {setting.key}" in text for setting in own)
    assert max(map(len, text.splitlines())) <= 120


def test_help_tells_of_what_is_chosen() -> None:
    text = help_text("train", ["model=vqvae_small", "data=folder"])
    assert "model.encoder={channels: 192}" in text and "data.root=" in text and "data.corpus.max_voices" not in text
    assert "null: as much as perturb" in text  # the comment of the yaml that it starts from
    assert re.search(r"max_iterations=100000 +of the global batch", text)
    assert re.search(r"data\.streaming\.shards=4 +in memory at a time", text)  # of the yaml that all corpora start from
    text = help_text("convert", [])
    assert "controls of the converter that ships (recsyn)" in text
    assert re.search(r"strength=1\.0 +0 speaks with the source's own voice", text)
    text = help_text("convert", ["model=random_cnn"])
    assert re.search(r"stop=null +end when ten iterations", text) and "model.kernel=5x5" in text
    with pytest.raises(UserError, match="did you mean 'random_cnn'"):
        help_text("convert", ["model=random_cn"])


def test_the_version_is_ours(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--version"])
    importlib.import_module("revoice.cli.train").main()
    assert capsys.readouterr().out == f"revoice {__version__}\n"


def test_settings_with_dashes_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    module = importlib.import_module("revoice.cli.train")
    seen = []
    monkeypatch.setattr(module, "task", lambda values, folder: seen.append(values["optimizer"]["lr"]))
    monkeypatch.setattr(sys, "argv", ["train.py", "--optimizer.lr=1e-3", "--max_iterations=7"])
    monkeypatch.chdir(tmp_path)
    module.main()
    assert seen == [1e-3]
