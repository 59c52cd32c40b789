"""What is measured of conversions, one file per kind of metric."""
