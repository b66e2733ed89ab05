"""Where the stages put what they hand each other; `dvc.yaml` names the same."""

from pathlib import Path

EXTERNAL = Path("data/external")  # the user's own files
RAW, PREPARED = Path("data/raw"), Path("data/prepared")
LEDGER = Path("ledger")  # of what was answered
MODELS, EVALUATION, REPORT = Path("models"), Path("evaluation"), Path("report")
SWEEP = Path("sweep")  # what `birnn sweep` has found, a file a problem

SEQUENCES, SUMMARY = "sequences.parquet", "summary.json"  # in `RAW`

ENCODING, PACKING, VECTORS = "encoding.json", "packing.json", "vectors.safetensors"
KEPT = "kept.parquet"
TRAIN, VALIDATION, TEST = "train.arrow", "validation.arrow", "test.arrow"

WEIGHTS, DESCRIPTION, HISTORY = "weights.safetensors", "model.json", "history.csv"  # of a model

METRICS, INTERVALS = "metrics.json", "intervals.json"  # of a model's evaluation
CHECKS, OPERATING_POINTS = "checks.json", "operating_points.json"
PREDICTIONS, ANSWERS = "predictions.parquet", "answers.json"
CONFUSION, CONFUSION_COUNTS = "confusion.csv", "confusion_counts.csv"
PER_CLASS, BY_LENGTH, BY_POSITION = "per_class.csv", "by_length.csv", "by_position.csv"
PRECISION_RECALL, CALIBRATION = "precision_recall.csv", "calibration.csv"
CONFUSIONS, TRACE, SLICES = "confusions.json", "trace.json", "slices.json"
PADDING, WORST = "padding.json", "worst.json"
EXPECTED_ACCURACY = "expected_accuracy.json"

COMPARISON, VERDICT = "comparison.json", "verdict.json"  # in `REPORT`
LEARNING = "learning.csv"
PAGE, TEXT, CHANGES = "report.html", "report.md", "changes.html"
