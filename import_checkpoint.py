"""`python import_checkpoint.py --help`; the code is in src/revoice/cli/import_checkpoint.py."""

from _environment import run

if __name__ == "__main__":
    run("import_checkpoint")
