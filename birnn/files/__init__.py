"""Files whole or absent, hashes, encodings, the sequence table, the console."""
