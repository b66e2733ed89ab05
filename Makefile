# make repro and make test are all that a newcomer needs; each makes .venv first if it is missing.
SHELL := bash
PYTHON ?= python3
VENV := .venv/bin
# A worker gets one test after the other, in the order of tests/conftest.py.
SPREAD := --numprocesses auto --maxschedchunk 1
# A CPU without AVX, as far as the numeric libraries can be told to act as one.
OLD_CPU := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE
AVX2_CPU := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2
NUMERIC := tests/model tests/data/test_scaling.py tests/evaluation/test_comparison.py \
	tests/evaluation/test_metrics.py tests/evaluation/test_trace.py tests/tracking/test_serving.py
export PATH := $(CURDIR)/$(VENV):$(PATH)

.PHONY: repro test test-everywhere test-long check ui serve bench bench-pages gpu-check picture experiments lock clean

repro: .venv/installed  ## run the pipeline, or what has changed of it, and show the result
	@dvc repro
	@birnn summary

test: .venv/installed  ## run the tests
	@pytest $(SPREAD)

test-everywhere: .venv/installed  ## the same as older CPUs would run them; TESTS='$(NUMERIC)' for few
	@$(OLD_CPU) pytest $(SPREAD) $(TESTS)
	@$(AVX2_CPU) pytest $(SPREAD) $(TESTS)

test-long: .venv/installed  ## what takes too long for every day: a year of retrainings, fifty kills, hundreds of draws
	@pytest $(SPREAD) -m "long or not slow" --hypothesis-profile long

check: .venv/installed  ## lint and type-check, and look at what is in deploy/
	@ruff check
	@ruff format --check
	@mypy
	@bash deploy/check

# By itself MLflow starts fourteen processes: four servers, and seven for jobs of which we have none.
ui: .venv/installed  ## open the MLflow UI on localhost
	@MLFLOW_TRACKING_URI= python -c 'from birnn.tracking import store; store.connect()'  # after a move
	@env MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
		mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $${PORT:-5000}

serve: .venv/installed  ## answer requests on localhost, by the champion or else the model of the last repro
	@birnn serve --port $${PORT:-8000}

bench: .venv/installed  ## print the benchmarks of this machine, and keep their figures
	@python -m benchmarks --device cpu --json benchmarks/results/cpu.json

bench-pages:  ## put the figures that are kept into docs/
	@python -m benchmarks.quoted benchmarks/results/cpu.json docs/speed.md
	@python -m benchmarks.picture benchmarks/results/cpu.json docs/speed.svg

gpu-check: .venv/installed  ## on a machine with a GPU: whether it computes right, and how fast
	@python -m benchmarks.gpu --json benchmarks/results/gpu.json

picture: .venv/installed  ## take the README's pictures of the last `make repro`; needs chromium
	@python docs/pictures.py

experiments: .venv/installed  ## list DVC's experiments: what was changed, validation before test
	@birnn experiments

lock: .venv/installed  ## after a change of constraints.txt: note the hashes of all files that pip may take
	@command -v uv >/dev/null || pip install --quiet --constraint constraints.txt uv
	@python deploy/lock.py

# With LOCKED=1, pip takes no file but those whose hashes stand in requirements.lock; of torch the wheel
# for CPUs where there is one. setuptools warns of what every editable installation is.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --require-hashes --requirement deploy/requirements/pip.txt
ifdef LOCKED
	@$(VENV)/python -m pip install --quiet --require-hashes --no-deps --requirement deploy/requirements/cpu.txt \
		2>/dev/null || echo "no wheel of torch for CPUs alone is to be had: the one for GPUs comes"
	$(VENV)/python -m pip install --quiet --require-hashes --no-build-isolation \
		--requirement deploy/requirements/develop.txt
	PYTHONWARNINGS=ignore $(VENV)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
else
	PYTHONWARNINGS=ignore $(VENV)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
		--editable '.[dev,onnx,prefect,ray,retrain,s3,sktime,sweep]'
endif
	@command -v $${CC:-cc} >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || \
		$(VENV)/python -m pip install --quiet --constraint constraints.txt ziglang  # compiles C
	@touch $@

clean:  ## remove what the pipeline made; DVC's cache and MLflow's runs stay
	rm -rf data/raw data/prepared models evaluation report
