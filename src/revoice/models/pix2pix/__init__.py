"""Pix2Pix: any voice to one voice, by a network that undoes an anonymizer (lilacs2039's Anonymous-VC, VoicePix2Pix)."""

from revoice.models.pix2pix.model import Pix2Pix as Pix2Pix
