# `make run` and `make test` set everything up on a bare machine with Python 3.11 or newer, pip and venv.
PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
# `make check` reads the types of these too, because `make test` skips them
UNTYPED := arg-type --disable-error-code import-untyped --disable-error-code no-untyped-call --disable-error-code no-any-return
export MYPYPATH := tests/support:tests/parity:benchmarks
WORKERS ?= -n 2 --dist worksteal

.PHONY: run test quick check docs clean

run: .venv/.run
	$(BIN)/rilbench run --strategy rid --rewards aesthetic,hps

test: .venv/.test
	$(BIN)/python -m pytest $(WORKERS)

quick: .venv/.test
	$(BIN)/python -m pytest $(WORKERS) --ignore tests/browser --ignore tests/parity -m 'not slow and not browser'

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --follow-imports=silent --disable-error-code $(UNTYPED) tests/parity tests/model/test_cuda.py

docs: .venv/.docs
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.run: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e .
	touch $@

.venv/.test: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e '.[test]'
	touch $@ .venv/.run

.venv/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e '.[docs]'
	touch $@ .venv/.run

.venv/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e '.[dev]'
	touch $@ .venv/.run .venv/.test .venv/.docs

clean:
	rm -rf .venv build *.egg-info
