"""SpeechSplit: speech taken apart into content, rhythm, pitch and timbre, each of which can be another's."""

from revoice.models.speechsplit.model import SpeechSplit as SpeechSplit
from revoice.models.speechsplit.swap import SpeechSplitControls as SpeechSplitControls
