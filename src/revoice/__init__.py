"""revoice: train, convert with and compare voice conversion systems.

>>> import revoice
>>> revoice.load("outputs/train/adain_vc/run").convert("a.wav", "b.wav")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from revoice.version import __version__

if TYPE_CHECKING:
    from revoice.conversion.converter import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # torch is imported when it is first needed, not by `import revoice`
        from revoice.conversion.converter import load

        return load
    raise AttributeError(f"module 'revoice' has no attribute '{name}'")
