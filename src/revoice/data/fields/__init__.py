"""What can be stored per utterance: one file each, found by the registry `revoice.data.fields.base.FIELDS`."""
