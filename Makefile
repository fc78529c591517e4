# make demo, make test: each does all the set-up that it needs, in .venv of this checkout.
# make test PYTHON=python3.13: the same in .venv-3.13 beside it.
ifdef PYTHON
VENV ?= .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
else
PYTHON := python3
VENV ?= .venv
endif
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKERS ?= auto

.PHONY: help setup demo test test-fast lint lint-typing docs torture bench dist wheel sdist clean

help:
	@echo "make demo       run the main job, for real"
	@echo "make test       run every test"
	@echo "make test-fast  run most tests in under a minute: no kill loops, no OpenBao, no moto"
	@echo "make lint       formatter, linters, types, layers, spelling, workflows"
	@echo "make docs       build the documentation into build/docs, warnings are errors"
	@echo "make bench      print the benchmarks' ratios"
	@echo "make torture    the longer, deeper run of the tests"
	@echo "make wheel      build the wheel, install it in an empty environment, run its demo"
	@echo "make sdist      build the sdist, unpack it, run its tests"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("sealflow needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --upgrade 'pip>=25.1'
	$(PIP_INSTALL) --editable '.[all]' --group dev
	touch $@

demo: setup
	$(BIN)/sealflow demo

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term --cov-fail-under=95

test-fast: setup
	$(BIN)/python -m pytest -n $(WORKERS) -q -m 'not slow'

torture: setup
	SEALFLOW_TORTURE=1 $(BIN)/python -m pytest -n $(WORKERS) --timeout 1800

lint: setup lint-typing
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/zizmor --offline --quiet --persona pedantic .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

# What a user's type checkers say of the public names: without our settings, with sealflow as an installed package.
lint-typing: setup
	$(BIN)/mypy --strict --config-file= --cache-dir .mypy_cache/user tests/typing
	$(BIN)/basedpyright --pythonpath $(BIN)/python --project tests/typing

docs: setup
	$(PIP_INSTALL) --group docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --builder html docs build/docs

bench: setup
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

# The wheel is made from the sdist, as installers make it.
dist: setup
	rm -rf dist
	$(BIN)/python -m build --outdir dist . >/dev/null

wheel: dist
	rm -rf build/wheel-env
	$(PYTHON) -m venv build/wheel-env
	build/wheel-env/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd build && wheel-env/bin/sealflow demo
	rm -rf build/wheel-env

sdist: dist
	rm -rf build/sdist && mkdir -p build/sdist
	tar --extract --file dist/*.tar.gz --directory build/sdist --strip-components 1
	cd build/sdist && PYTHONPATH=$$PWD/src $(abspath $(BIN))/python -m pytest -n $(WORKERS) -q -m 'not slow'
	rm -rf build/sdist

clean:
	rm -rf .venv .venv-* dist build .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
