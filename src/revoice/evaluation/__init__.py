"""How good conversions are: which clips to convert, what to measure of them, and the report."""
