"""`python convert.py --help`; the code is in src/revoice/cli/convert.py."""

from revoice.cli.convert import main

if __name__ == "__main__":
    main()
