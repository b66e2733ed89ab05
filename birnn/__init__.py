"""Bidirectional RNNs on sequences of different lengths, as a reproducible pipeline."""
