# The README's commands.  Each target that needs the environment makes it first.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.setup-done

.PHONY: setup demo test lint bench sim fuzz clean

setup: $(STAMP)

$(STAMP): pyproject.toml .ci/setup
	bash .ci/setup $(VENV)
	touch $@

demo: setup
	$(VENV)/bin/clpdemo

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

test: lint
	$(PY) -m pytest tests

bench: setup
	$(PY) -m tests.bench

sim: setup
	$(VENV)/bin/clpsim --seeds 1:10000 --faults all

fuzz: setup
	$(PY) -m pytest tests -m "not root" -k fuzz

clean:
	rm -rf $(VENV) build dist *.egg-info
