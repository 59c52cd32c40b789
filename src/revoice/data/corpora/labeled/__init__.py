"""Corpora that say how something is said, or by whom: emotions, and the genders of many speakers."""

from revoice.data.corpora.labeled import common_voice, crema_d, emodb, esd, iemocap, ravdess

__all__ = ["common_voice", "crema_d", "emodb", "esd", "iemocap", "ravdess"]
