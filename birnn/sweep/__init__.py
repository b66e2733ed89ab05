"""The search for better settings by the validation split; the test split is never opened."""
