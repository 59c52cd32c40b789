"""`python train.py --help`; the code is in src/revoice/cli/train.py."""

from revoice.cli.train import main

if __name__ == "__main__":
    main()
