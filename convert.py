"""`python convert.py --help`; the code is in src/revoice/cli/convert.py."""

from _environment import run

if __name__ == "__main__":
    run("convert")
