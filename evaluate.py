"""`python evaluate.py --help`; the code is in src/revoice/cli/evaluate.py."""

from revoice.cli.evaluate import main

if __name__ == "__main__":
    main()
