"""MLflow: store, runs, servable model, registry."""
