"""The knobs of params.yaml, typed and checked, and what dvc.lock recorded of them.

    params = load()                 # params.yaml in the working directory
    params.train.learning_rate

A key that is not declared in `schema` is a mistake, and the message names the nearest one that is.
"""

from birnn.params.loading import (
    PATH,
    Knob,
    Knobs,
    data,
    entry,
    load,
    of_last_commit,
    of_run,
    of_training,
    parsed,
)
from birnn.params.schema import (
    ArraysData,
    Bar,
    Columns,
    ConllData,
    Cost,
    Critical,
    Data,
    Entry,
    Evaluate,
    FastaData,
    FileData,
    HMMData,
    Least,
    ListsData,
    Model,
    Params,
    Prepare,
    Retrain,
    SktimeData,
    TableData,
    TextData,
    Train,
)

__all__ = [
    "PATH",
    "ArraysData",
    "Bar",
    "Columns",
    "ConllData",
    "Cost",
    "Critical",
    "Data",
    "Entry",
    "Evaluate",
    "FastaData",
    "FileData",
    "HMMData",
    "Knob",
    "Knobs",
    "Least",
    "ListsData",
    "Model",
    "Params",
    "Prepare",
    "Retrain",
    "SktimeData",
    "TableData",
    "TextData",
    "Train",
    "data",
    "entry",
    "load",
    "of_last_commit",
    "of_run",
    "of_training",
    "parsed",
]
