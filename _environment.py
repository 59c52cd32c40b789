"""Runs a command of revoice in a Python that can: this one, or else that of the `.venv` that `make setup` made."""

import importlib
import importlib.util
import os
import subprocess
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
PYTHON = os.path.join(FOLDER, ".venv", *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
NEEDED = ("torch", "hydra", "pytorch_lightning", "revoice")
MARK = "REVOICE_ENTERED"  # set for the second Python, so that there is no third


def run(command):  # plain Python, and no annotations: the first to read this may be any Python 3
    """Run `revoice.cli.<command>`; without an environment that has what it needs, one line and status 2."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing:
        os.environ.pop(MARK, None)  # the programs that this one starts find their own way
        importlib.import_module("revoice.cli." + command).main()
    elif os.path.isfile(PYTHON) and not os.environ.get(MARK):
        os.environ[MARK] = "1"
        arguments = [PYTHON, *sys.argv]
        if os.name == "nt":  # where exec returns to the shell at once
            sys.exit(subprocess.call(arguments))
        sys.stdout.flush()
        os.execv(PYTHON, arguments)
    else:
        where = PYTHON if os.path.isfile(PYTHON) else sys.executable
        sys.stderr.write(f"error: {where} has no {missing[0]}: type make setup in {FOLDER}, then this again\n")
        sys.exit(2)
