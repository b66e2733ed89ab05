"""The servable model, as MLflow runs it: the sequence table in, predictions out.

MLflow executes this file when it loads the model ("models from code"), so that no pickle is needed.
It is the one module that acts when it is imported, and nothing else imports it.

    mlflow models serve -m models:/m-... --env-manager local
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from birnn.errors import BirnnError
from birnn.files import console
from birnn.files.reading import Skipped
from birnn.model import prediction, saved_model


class Predictor(PythonModel):
    """Predicts data frames with one row a step."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights once, when the server starts."""
        self.saved = saved_model.read(context.artifacts["model"])
        self.network = saved_model.predicting(self.saved, "auto")

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Give `sequence`, `predicted` and `probability_LABEL`, one row a label.

        Raises:
            MlflowException: the table is not one that the model reads; a server answers with it and
                status 400, where another exception would send the client a traceback.
        """
        batches = pa.Table.from_pandas(model_input, preserve_index=False).to_batches()
        skipped = Skipped()
        predicted = prediction.of_table(
            self.network,
            self.saved.encoding,
            self.saved.thresholds,
            batches,
            where="the request",
            skipped=skipped,
        )
        try:
            frame: pd.DataFrame = pa.concat_tables(predicted).to_pandas()
        except BirnnError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        for line in skipped.sentences():
            console.say(line, error=True)
        return frame


set_model(Predictor())
