"""CodeGAN: the prosody of speech rewritten to another emotion, in the codes of a model that takes speech apart."""

from revoice.models.codegan.model import CodeGAN as CodeGAN
from revoice.models.codegan.model import CodeGANControls as CodeGANControls
