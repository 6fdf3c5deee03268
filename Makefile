# The README's commands.  Each target that needs the environment makes it first.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.setup-done
# What is played on five servers: the stories that more servers make another one.
FIVE := move,trap,power-loss,cut-short,push-shorter

.PHONY: setup demo test lint bench sim fuzz real roots lock lowest deb rpm bundle compat clean

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
	bash .ci/test

bench: setup
	$(PY) -m tests.bench

sim: setup
	$(VENV)/bin/clpsim --seeds 1:10000 --faults all --jobs 2
	@echo "Clusters of 7 to 32 servers in turn:"
	$(VENV)/bin/clpsim --sample large --seeds 1:40 --faults all --jobs 2
	@echo "Every single fault at every place of every story; of the last three a sample:"
	$(VENV)/bin/clpsim --systematic --sample 2bmc --jobs 2
	$(VENV)/bin/clpsim --systematic --sample 3bmc --jobs 2
	$(VENV)/bin/clpsim --systematic --sample 5bmc --stories $(FIVE) --jobs 2
	$(VENV)/bin/clpsim --systematic --sample 2bmcstrong --most 10000 --jobs 2
	$(VENV)/bin/clpsim --systematic --sample 3lease --most 10000 --jobs 2
	$(VENV)/bin/clpsim --systematic --sample 2bmc --pairs --most 5000 --jobs 2
	@echo "Groups that wait for each other and are kept apart; servers with fence agents:"
	$(VENV)/bin/clpsim --systematic --sample "3bmc groups=3 ordered=1 apart=normal" --most 5000 --jobs 2
	$(VENV)/bin/clpsim --seeds 1:300 --sample "2lease fence=silent" --faults all --jobs 2
	$(VENV)/bin/clpsim --seeds 1:300 --sample "3bmc fence=polled" --faults all --jobs 2
	@echo "Servers of the last release beside servers of this version:"
	$(PY) -m tests.sim.released 1:1000
	@echo "A weak arbiter with lease proof: a split brain must be found (exit code 9)."
	$(VENV)/bin/clpsim --sample 2weak --seeds 1:20 --faults cut,isolate,split --jobs 2 >/dev/null; test $$? -eq 9

# Every parser under atheris for 10 s, or for HOURS together; then the random tests of make test.
fuzz: setup
	$(PY) -m pip install -q --disable-pip-version-check -e ".[fuzz]"
	$(PY) -m clptools.cli.starters $(VENV)/bin
	$(PY) -m tests.fuzz $(if $(HOURS),--hours $(HOURS))
	$(PY) -m pytest tests -m "not root" -k fuzz

# Whole machines in qemu, as root: make real, make real CASE=panic, CASE="boot panic"
# (RESULTS=1 writes lab/RESULTS.md; KEEP=1 takes the image as it is).
real: setup $(if $(CASE),,roots)
	KEEP=$(KEEP) $(PY) -m lab $(CASE) $(if $(RESULTS),--results)

# The packages in fresh Debian systems, as root: make roots, make roots CASE=upgrade
roots: setup
	$(PY) -m lab.roots $(CASE)

# lab/requirements.lock anew: the newest wheels that pyproject.toml allows.
lock: setup
	$(PY) -m lab.lock

# The tests with the lowest versions that pyproject.toml allows.
lowest:
	bash .ci/lowest

deb: setup
	$(PY) -m lab.package

rpm: setup
	$(PY) -m lab.rpm

# One file for both servers of a cluster, which needs no registry there.
bundle: setup
	$(PY) -m lab.bundle

# The original's paths and units on this host; taken away by: $(VENV)/bin/clpcompat --remove
compat: setup
	$(VENV)/bin/clpcompat --install

clean:
	rm -rf $(VENV) build dist *.egg-info
