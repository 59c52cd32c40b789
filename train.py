"""`python train.py --help`; the code is in src/revoice/cli/train.py."""

from _environment import run

if __name__ == "__main__":
    run("train")
