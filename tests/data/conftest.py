"""Makes `data_helpers` importable for the tests below this folder."""
