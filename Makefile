# `make demo` and `make test` set up everything they need in .venv: wheels only, no compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
QUICK ?= --quick
# Threads that spin long while they wait crawl as soon as anything else runs.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 1000

.PHONY: demo test lint ext docs bench clean

demo: $(VENV)/.ready
	$(BIN)/kgt demo

test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy pyg_kgtransfer

# The optional compiled extensions, from source: needs a C++ compiler and about ten minutes, once.
ext: $(VENV)/.ready
	@echo "Compiling torch-scatter and torch-sparse, once (about ten minutes) ..."
	$(PIP) install -c constraints.txt wheel
	$(PIP) install --no-build-isolation -c constraints.txt torch-scatter torch-sparse

# The site, in site/: pages that are made are made anew, and a link that leads nowhere stops it.
docs: $(VENV)/.ready
	$(PIP) install -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.ready
	$(PIP) install -c constraints.txt -e ".[bench,text]"
	$(BIN)/python -m benchmarks.jplr_atlas $(QUICK) --out runs/bench/jplr_atlas.json
	$(BIN)/python -m benchmarks.jplr_dbp5l $(QUICK) --out runs/bench/jplr_dbp5l.json
	$(BIN)/python -m benchmarks.reproduce_kge $(QUICK) --out runs/bench/reproduce_kge.json
	for name in kernels encoders evaluation training kg_fit joint_glove zero_shot foundation low_resource \
			few_shot calibration bias augmentation scale distributed; do \
		$(BIN)/python -m benchmarks.$$name $(QUICK) --out runs/bench/$$name.json || exit 1; done
	for name in ogbl-biokg ogbl-wikikg2; do \
		$(BIN)/python -m benchmarks.ogbl --dataset $$name --model complex $(QUICK) --out runs/bench/$$name.json \
			|| exit 1; done

clean:
	rm -rf $(VENV) runs site

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Setting up $(VENV): PyTorch, PyTorch Geometric and the rest, once (a few minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt setuptools
	$(PIP) install -c constraints.txt -e ".[fast,plot,pandas,tensorboard,atlas,llm,ogb,tune,notebooks,dev]"
	touch $@
