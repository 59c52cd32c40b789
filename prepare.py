"""`python prepare.py --help`; the code is in src/revoice/cli/prepare.py."""

from _environment import run

if __name__ == "__main__":
    run("prepare")
