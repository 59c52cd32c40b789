"""`python prepare.py --help`; the code is in src/revoice/cli/prepare.py."""

from revoice.cli.prepare import main

if __name__ == "__main__":
    main()
