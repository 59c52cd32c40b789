"""Recognizers that count errors, one file each."""
