"""Anonymizers, one file each."""
