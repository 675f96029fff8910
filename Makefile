# The two commands of the README, from nothing: each makes .venv, installs into it, and runs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test fuzz lint dist docs gpu clean

demo: .venv/installed
	$(BIN)/fer demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal

# Ten times the broken inputs that the tests try, or as many as FER_FUZZ says.
fuzz: .venv/installed-dev
	FER_FUZZ=$${FER_FUZZ:-2000} $(BIN)/python -m pytest -n auto tests/fuzz

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation's site in site/, strictly: a broken link is an error. Looked at without a network.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python .ci/links.py site

# The wheel and the source distribution in dist/, and the wheel tried in an empty environment outside the checkout.
dist: .venv/installed-dev
	.ci/dist $(CURDIR)/$(BIN)/python

# What this machine's GPU does with fer, in eight minutes: a table in benchmarks-out/gpu. Without a GPU it fails and says so.
gpu: .venv/installed
	$(BIN)/python benchmarks/gpu.py

.venv/installed: pyproject.toml | .venv
	$(BIN)/pip install --disable-pip-version-check --editable .
	touch $@

.venv/installed-dev: pyproject.toml | .venv
	$(BIN)/pip install --disable-pip-version-check --editable '.[dev]'
	touch $@ .venv/installed

.venv/installed-docs: pyproject.toml | .venv
	$(BIN)/pip install --disable-pip-version-check --editable '.[dev,docs]'
	touch $@ .venv/installed .venv/installed-dev

.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "fer needs Python 3.11 or later; $$($(PYTHON) --version) is what '$(PYTHON)' is. Try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; \
	  exit 2; }
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
