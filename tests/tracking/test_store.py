"""The store where MLflow's client alone is installed, as on a machine that only serves."""

import sys

import pytest
from requests.exceptions import ConnectionError as Unreachable

from birnn.errors import RegistryError
from birnn.tracking import store


def test_a_server_out_of_reach_is_one_line_without_sqlalchemy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy.exc", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org:5000")
    said = "expected an answer from MLflow, found: no route"
    with pytest.raises(RegistryError, match=said), store.reached():
        raise Unreachable("no route")
