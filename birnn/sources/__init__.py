"""Where sequences come from; each module gives the sequence table as Arrow record batches."""
