"""PREPARE: splits, encoding, scaling, and sequences in Arrow files."""
