"""TRAIN: recurrence, networks, batches, training, prediction."""
