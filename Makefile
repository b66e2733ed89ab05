# make repro and make test are all that a newcomer needs; each makes .venv first if it is missing.
SHELL := bash
PYTHON ?= python3
VENV := .venv/bin
export PATH := $(CURDIR)/$(VENV):$(PATH)

.PHONY: repro test check ui bench picture clean

repro: .venv/installed  ## run the pipeline, or what has changed of it, and show the result
	@dvc repro
	@birnn summary

test: .venv/installed  ## run all tests
	@pytest --numprocesses 2 --dist worksteal

check: .venv/installed  ## lint and type-check
	@ruff check
	@ruff format --check
	@mypy

ui: .venv/installed  ## open the MLflow UI on localhost
	@mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $${PORT:-5000}

bench: .venv/installed  ## print the benchmarks
	@python -m benchmarks

picture:  ## take the README's picture of the report; needs chromium
	@chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1000,900 \
		--user-data-dir=$$(mktemp -d) --screenshot=docs/report.png file://$(CURDIR)/report/report.html

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,prefect,retrain,sktime]'
	@touch $@

clean:  ## remove what the pipeline made; DVC's cache and MLflow's runs stay
	rm -rf data/raw data/prepared models evaluation report
