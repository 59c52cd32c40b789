"""`python import_checkpoint.py --help`; the code is in src/revoice/cli/import_checkpoint.py."""

from revoice.cli.import_checkpoint import main

if __name__ == "__main__":
    main()
