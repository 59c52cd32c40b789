"""Readers of corpora: one file each, found by the registry `revoice.data.corpora.base.CORPORA`."""
