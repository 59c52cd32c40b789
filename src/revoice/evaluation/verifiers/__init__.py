"""Speaker encoders that score conversions, one file each."""
