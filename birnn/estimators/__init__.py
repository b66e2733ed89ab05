"""For scikit-learn: the same preparation, training and prediction, on what Python code holds."""
