"""Recognition-synthesis: what a recognizer hears, said again in another voice."""

from revoice.models.recsyn.model import RecSyn as RecSyn
from revoice.models.recsyn.model import RecSynControls as RecSynControls
