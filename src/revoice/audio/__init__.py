"""A waveform and its representations: files in and out, features, pitch, loudness, speaker embedding."""
