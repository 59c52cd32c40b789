"""AdaIN-VC: one-shot conversion with instance normalization."""

from revoice.models.adain_vc.model import AdaINVC as AdaINVC
