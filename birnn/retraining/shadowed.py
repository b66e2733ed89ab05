"""What the record of a decision says of recent sequences without labels."""

from __future__ import annotations

from pathlib import Path

from birnn.errors import DataError
from birnn.retraining.attempts import Attempt
from birnn.serving import shadow
from birnn.tracking.registry import Version


def shadowed(attempt: Attempt, challenger: Version) -> dict[str, str]:
    """Say how the challenger would change the answers for `retrain.shadow`; it decides nothing.

    So a file that cannot be read stops no retraining.

    Returns:
        `shadow`, a sentence; nothing where there is no file, or nobody to compare with.

    Raises:
        RegistryError: MLflow is out of reach.
    """
    file, champion = attempt.chosen.retrain.shadow, attempt.champion
    if file is None or champion is None:
        return {}
    one, other = (
        f"models:/{attempt.chosen.problem}/{version.number}" for version in (champion, challenger)
    )
    try:
        return {"shadow": shadow.of(one, other, Path(file)).sentence}
    except DataError as error:
        return {"shadow": f"Not known how answers would change: {error}"}
