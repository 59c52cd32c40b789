"""Recognition-synthesis: what a recognizer hears, said again in another voice."""

from revoice.models.base import TonedControls as RecSynControls  # noqa: F401  its name in scripts of earlier versions
from revoice.models.recsyn.model import RecSyn as RecSyn
