SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# seconds since the epoch when make began: the demo's report counts the installation too
export REVOICE_DEMO_BEGAN := $(shell date +%s)

.DEFAULT_GOAL := help
.PHONY: help setup try demo voice test test-all lint type bench lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14

$(VENV)/.installed: requirements.lock pyproject.toml
	@command -v uv >/dev/null 2>&1 || $(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet uv \
		|| $(PYTHON) -m pip install --quiet --user --break-system-packages uv
	@UV=$$(command -v uv || echo "$(PYTHON) -m uv"); set -e; \
		test -x $(BIN)/python || $$UV venv --quiet --python $(PYTHON) $(VENV); \
		$$UV pip sync --python $(BIN)/python --compile-bytecode requirements.lock; \
		$$UV pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(VENV)/.installed ## create .venv from requirements.lock

try: setup ## convert an embedded voice into another, or yours: make try SRC=me.wav TGT=you.wav
	$(BIN)/revoice-try $(if $(SRC),'src=$(SRC)') $(if $(TGT),'tgt=$(TGT)')

demo: setup ## speak the embedded corpus, train AdaIN-VC, convert unseen voices, write outputs/demo/report.html
	$(BIN)/revoice-demo

voice: setup ## train the converter that ships anew: TEACHER=FILE (Whisper's encoder), REVOICE_REAL=FOLDER (real speech)
	$(BIN)/python train.py experiment=voice model.content_from=$(TEACHER) hydra.run.dir=outputs/voice/1
	$(BIN)/python train.py experiment=voice_tune init_from=outputs/voice/1 hydra.run.dir=outputs/voice/2
	$(BIN)/revoice-export ckpt=outputs/voice/2 half=true out=src/revoice/weights/voice.safetensors

test: setup ## run the test suite (under ten minutes on two cores)
	$(BIN)/python -m pytest

test-all: setup ## run every test, the slow ones too
	$(BIN)/python -m pytest -m "slow or not slow"

lint: setup ## check style (ruff)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: setup ## check types (mypy)
	$(BIN)/mypy

bench: setup ## measure every claim of speed in benchmarks/
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: ## write requirements.lock anew from pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" --extra synthetic --extra formats --extra sweeps --extra dev pyproject.toml --output-file requirements.lock >/dev/null

clean: ## remove the environment, caches and runs (corpora in data/ stay)
	rm -rf $(VENV) outputs multirun dist build .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
