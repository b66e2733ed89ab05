# make repro and make test are all that a newcomer needs; each makes .venv first if it is missing.
SHELL := bash
PYTHON ?= python3
VENV := .venv/bin
FIGURES := Experiment|Created|.*metrics.json:(accuracy|f1_macro|log_loss)$$|(data|model|models|train)\.
# A worker gets one test after the other, in the order of tests/conftest.py.
SPREAD := --numprocesses auto --maxschedchunk 1
export PATH := $(CURDIR)/$(VENV):$(PATH)

.PHONY: repro test test-long check ui bench picture experiments clean

repro: .venv/installed  ## run the pipeline, or what has changed of it, and show the result
	@dvc repro
	@birnn summary

test: .venv/installed  ## run the tests
	@pytest $(SPREAD)

test-long: .venv/installed  ## what takes too long for every day: a year of retrainings, fifty kills, hundreds of draws
	@pytest $(SPREAD) -m long

check: .venv/installed  ## lint and type-check
	@ruff check
	@ruff format --check
	@mypy

ui: .venv/installed  ## open the MLflow UI on localhost
	@MLFLOW_TRACKING_URI= python -c 'from birnn import tracking; tracking.connect()'  # after a move
	@mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $${PORT:-5000}

bench: .venv/installed  ## print the benchmarks
	@python -m benchmarks

picture: .venv/installed  ## take the README's pictures of the last `make repro`; needs chromium
	@python docs/pictures.py

experiments: .venv/installed  ## list DVC's experiments: what was changed, and the figures that matter
	@dvc exp show --no-pager --only-changed --drop '(?!$(FIGURES))'

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,prefect,retrain,sktime]'
	@touch $@

clean:  ## remove what the pipeline made; DVC's cache and MLflow's runs stay
	rm -rf data/raw data/prepared models evaluation report
