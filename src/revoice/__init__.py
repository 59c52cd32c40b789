"""revoice: train, convert with and compare voice conversion systems.

>>> import revoice
>>> revoice.load("outputs/train/adain_vc/run").convert("a.wav", "b.wav")  # doctest: +SKIP
"""

import os
from typing import TYPE_CHECKING, Any

from revoice.version import __version__

# OpenMP reads these when torch starts. By default its threads spin while they wait for each other: on a machine that is
# busy with something else they then hold the cores that the others need, and training becomes ten times slower.
for _name, _value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "1000"), ("KMP_BLOCKTIME", "0")):
    os.environ.setdefault(_name, _value)

if TYPE_CHECKING:
    from revoice.conversion.load import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # torch is imported when it is first needed, not by `import revoice`
        from revoice.conversion.load import load

        return load
    raise AttributeError(f"module 'revoice' has no attribute '{name}'")
