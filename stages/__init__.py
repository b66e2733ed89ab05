"""The stages of dvc.yaml, one module each: read the dependencies, call birnn, write the outs."""
