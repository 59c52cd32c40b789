"""The embedded corpus: sentences written for revoice, spoken by espeak-ng with many voices.

espeak-ng (GPL-3) is never linked into revoice: `server.py` is a program of its own that calls it.
"""
