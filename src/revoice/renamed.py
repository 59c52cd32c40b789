"""What is called otherwise than a release ago: the old names go on working, with a line that says the new one."""

import logging

log = logging.getLogger(__name__)

SETTINGS = {"optimiser": "optimizer", "normalise": "normalize"}
WEIGHTS = {"standardiser.": "standardizer.", "standardise.": "standardize."}


def setting(name: str) -> str:
    """Today's name of a setting, told if it is another.

    >>> setting("optimizer.lr")
    'optimizer.lr'
    """
    group, dot, last = name.rpartition(".")
    if last not in SETTINGS:
        return name
    new = f"{group}{dot}{SETTINGS[last]}"
    log.warning("%s= is called %s= now; the old name will go", name, new)
    return new


def weight(name: str) -> str:
    """Today's name of a weight in a checkpoint.

    >>> weight("model.standardiser.mean")
    'model.standardizer.mean'
    """
    for old, new in WEIGHTS.items():
        name = name.replace(old, new)
    return name
