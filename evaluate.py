"""`python evaluate.py --help`; the code is in src/revoice/cli/evaluate.py."""

from _environment import run

if __name__ == "__main__":
    run("evaluate")
