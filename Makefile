# Everything runs from a fresh machine with Python 3.11+ and make; `make setup` alone gives .venv/bin/processor.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
FRAMEWORKS := .venv-frameworks
BESIDE := .venv-beside
LOCK   := requirements/dev.txt
# tests mostly wait (for sessions to end, for processes to start): four at once, each worker with servers of its own
WORKERS ?= 4
# what `make test` and `make coverage` run: all of it, or for example TESTS=tests/unit
TESTS  ?= tests
STAMP  := $(VENV)/.installed

.PHONY: help setup demo test test-again test-frameworks coverage soak check docs pictures bench bench-beside wheel lock clean

help:
	@echo "make demo   a real search reports through a real Kafka into a real PostgreSQL, is replayed and reconciled"
	@echo "make test   all tests, on a real broker and a real database started for them; make coverage measures them"
	@echo "make test-frameworks  the tests on real Keras models, in an environment of their own"
	@echo "make test-again  those that failed the last time, one after the other"
	@echo "make check  format, lint, types, import contracts, schema compatibility"
	@echo "make docs   the documentation as HTML into build/docs; a dead link fails"
	@echo "make pictures  every page of the dashboard with made-up searches, as docs/pictures/*.png; needs a Chromium"
	@echo "make bench  throughput and latency beside the ceilings      make soak  minutes of random kills"
	@echo "make bench-beside  the dashboard beside Optuna Dashboard, in an environment of its own, and the MLflow UI; needs a Chromium"
	@echo "make setup  only install: .venv/bin/processor               make lock  refresh requirements/*.txt"
	@echo "make wheel  what others install, into dist"

setup: $(STAMP)

# uv comes from the package index when it is not there; pip checks the hash of the one wheel it installs
$(STAMP): $(LOCK) requirements/uv.txt pyproject.toml client/pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes $(LOCK) requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e client
	@touch $@

demo: setup
	@$(BIN)/processor demo

test: setup
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

# those that failed the last time, one after the other; the first that fails again ends it
test-again: setup
	@$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --exitfirst

# a figure, no gate: it fails where a test fails. The processes that tests start are measured too
coverage: setup
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal $(TESTS); failed=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report && exit $$failed

# what the tests of real Keras models need is large: an environment of its own, where `make test` skips them
test-frameworks: $(FRAMEWORKS)/.installed
	@$(FRAMEWORKS)/bin/python -m pytest tests/frameworks

$(FRAMEWORKS)/.installed: $(STAMP) requirements/frameworks.txt
	@test -x $(FRAMEWORKS)/bin/python || $(PYTHON) -m venv $(FRAMEWORKS)
	@$(BIN)/uv pip sync --quiet --python $(FRAMEWORKS)/bin/python --require-hashes $(LOCK) requirements/frameworks.txt
	@$(BIN)/uv pip install --quiet --python $(FRAMEWORKS)/bin/python --no-deps --no-build-isolation -e . -e client
	@touch $@

soak: setup
	@$(BIN)/python -m pytest -m soak --timeout 1800 -s

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/processor schemas check

# from nothing, every time: Sphinx warns of a page only when it reads it
docs: setup
	@rm -rf build/docs
	@$(BIN)/sphinx-build -c docs -W --keep-going -n -q . build/docs
	@echo build/docs/index.html

# minutes: a stack is started, searches report to it, and a browser looks at each page
pictures: setup
	@$(BIN)/python -m docs.pictures

bench: setup
	@$(BIN)/python -m benchmarks

# an hour or more; what is compared with is installed beside nothing else
bench-beside: $(BESIDE)/.installed
	@$(BIN)/python -m benchmarks.beside

$(BESIDE)/.installed: $(STAMP) requirements/beside.txt
	@test -x $(BESIDE)/bin/python || $(PYTHON) -m venv $(BESIDE)
	@$(BIN)/uv pip sync --quiet --python $(BESIDE)/bin/python --require-hashes requirements/beside.txt
	@touch $@

wheel: setup
	@rm -rf dist
	@$(BIN)/python -m hatchling build -t wheel -d dist
	@cd client && ../$(BIN)/python -m hatchling build -t wheel -d ../dist

# dev first: production then runs what was tested
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
  --python-version 3.11 --no-emit-package cerebros-processor --no-emit-package cerebros-client
lock: setup
	@$(COMPILE) --upgrade --group dev --group docs --group values --group oracles --all-extras -o requirements/dev.txt pyproject.toml requirements/build.in
	@$(COMPILE) -c requirements/dev.txt --extra registry --extra gateway --extra dashboard --extra mlflow -o requirements/runtime.txt pyproject.toml
	@$(COMPILE) -c requirements/dev.txt --group pyproject.toml:frameworks -o requirements/frameworks.txt
	@printf 'uv\n' | $(COMPILE) -o requirements/uv.txt -
	@$(COMPILE) --upgrade -o requirements/mlflow.txt requirements/mlflow.in
	@$(COMPILE) --upgrade -o requirements/beside.txt requirements/beside.in

clean:
	rm -rf $(VENV) $(FRAMEWORKS) $(BESIDE) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
