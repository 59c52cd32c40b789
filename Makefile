SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# CPU=1 leaves CUDA out; an environment made so stays so until CPU=0
WAS_CPU := $(if $(wildcard $(VENV)/.cpu),1)
CPU ?= $(WAS_CPU)
NOW_CPU := $(filter 1,$(CPU))
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
OF_CUDA := torch|torchaudio|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+
WITHOUT_CUDA := awk '/^[a-z]/ { left_out = /^($(OF_CUDA))==/ } !left_out' requirements.lock
PINS = $(shell sed -nE 's/^((torch|torchaudio)==[0-9.]+).*/\1/p' requirements.lock)
# seconds since the epoch when make began: the demo's report counts the installation too
export REVOICE_DEMO_BEGAN := $(shell date +%s)

.DEFAULT_GOAL := help
.PHONY: FORCE cpu-lock help setup try demo voice vocoder pitch phones verifier test test-all lint type bench benchmark-table lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14

$(VENV)/.installed: requirements.lock pyproject.toml $(if $(filter-out $(WAS_CPU)x,$(NOW_CPU)x),FORCE)
	@command -v uv >/dev/null 2>&1 || $(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet uv \
		|| $(PYTHON) -m pip install --quiet --user --break-system-packages uv
	@UV=$$(command -v uv || echo "$(PYTHON) -m uv"); set -e; \
		test -x $(BIN)/python || $$UV venv --quiet --python $(PYTHON) $(VENV); rm -f $(VENV)/.installed; \
		if test -n "$(NOW_CPU)"; then \
			TORCH="$$UV pip install --python $(BIN)/python --no-deps --index-url $(CPU_INDEX) $(PINS)"; \
			$$TORCH --dry-run --reinstall -qq || { echo "error: CPU=1 takes torch from $(CPU_INDEX), which does not answer:" \
				"name another index by CPU_INDEX=URL, or type make setup CPU=0" >&2; exit 2; }; \
			$(WITHOUT_CUDA) > $(VENV)/cpu.lock; \
			$$UV pip sync --python $(BIN)/python --compile-bytecode $(VENV)/cpu.lock; $$TORCH; touch $(VENV)/.cpu; \
		else \
			test -e /proc/driver/nvidia -o "$$(uname -s)" != Linux || \
				echo "no NVIDIA driver is here: make setup CPU=1 leaves CUDA out, most of 5.7 GB"; \
			$$UV pip sync --python $(BIN)/python --compile-bytecode requirements.lock; rm -f $(VENV)/.cpu; \
		fi; \
		$$UV pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

cpu-lock: # the lock without what belongs to CUDA, and without torch itself
	@$(WITHOUT_CUDA)

setup: $(VENV)/.installed ## create .venv from requirements.lock; CPU=1 leaves CUDA out

try: setup ## convert an embedded voice into another, or yours: make try SRC=me.wav TGT=you.wav
	$(BIN)/revoice-try $(if $(SRC),'src=$(SRC)') $(if $(TGT),'tgt=$(TGT)')

demo: setup ## speak the embedded corpus, train on it, convert unseen voices, write outputs/demo/report.html
	$(BIN)/revoice-demo

voice: setup ## train the converter that ships anew: TEACHER=FILE (Whisper's encoder), REVOICE_REAL=FOLDER (real speech)
	$(BIN)/python train.py experiment=voice model.content_from=$(TEACHER) hydra.run.dir=outputs/voice/1
	$(BIN)/python train.py experiment=voice_tune init_from=outputs/voice/1 hydra.run.dir=outputs/voice/2
	$(BIN)/revoice-export ckpt=outputs/voice/2 half=true out=src/revoice/weights/voice.safetensors

vocoder: setup ## train the vocoder that ships anew: REVOICE_REAL=FOLDER (real speech)
	$(BIN)/python train.py experiment=voice_vocoder hydra.run.dir=outputs/vocoder/1
	$(BIN)/python train.py experiment=voice_vocoder_tune init_from=outputs/vocoder/1 hydra.run.dir=outputs/vocoder/2
	$(BIN)/revoice-export ckpt=outputs/vocoder/2/checkpoints/last.ckpt half=true out=src/revoice/weights/vocoder.safetensors

pitch: setup ## train the pitch tracker that ships anew: REVOICE_REAL=FOLDER (real speech)
	$(BIN)/python train.py experiment=pitch hydra.run.dir=outputs/pitch
	$(BIN)/revoice-export ckpt=outputs/pitch/checkpoints/last.ckpt half=true out=src/revoice/weights/pitch.safetensors

phones: setup ## train the recognizer of phones that ships anew: TEACHER=FILE (Whisper's encoder), REVOICE_REAL=FOLDER (real speech)
	@test -f '$(TEACHER)' -a -d '$(REVOICE_REAL)/librispeech_mini' -a -d '$(REVOICE_REAL)/vctk_mini' || { echo "error: type" \
		"make phones TEACHER=FILE REVOICE_REAL=FOLDER, the folder with librispeech_mini and vctk_mini in it" >&2; exit 2; }
	$(BIN)/python train.py experiment=phone_teacher init_from=$(TEACHER) max_iterations=250 hydra.run.dir=outputs/phones/teacher
	$(BIN)/python train.py experiment=phones_taught data.prepare.fields.posteriors.teacher=outputs/phones/teacher \
		data.parts.libri.root=$(REVOICE_REAL)/librispeech_mini/LibriSpeech data.parts.vctk.root=$(REVOICE_REAL)/vctk_mini \
		hydra.run.dir=outputs/phones/1
	$(BIN)/revoice-export ckpt=outputs/phones/1 half=true out=src/revoice/weights/phones.safetensors

verifier: setup ## train the second verifier that ships anew: REVOICE_REAL=FOLDER (real speech)
	$(BIN)/python train.py experiment=verifier_real hydra.run.dir=outputs/verifier
	$(BIN)/revoice-export ckpt=outputs/verifier half=true out=src/revoice/weights/voiceprint.safetensors

test: setup ## run the test suite (a process per core)
	$(BIN)/python -m pytest -n auto --dist worksteal

test-all: setup ## run every test, the slow ones too
	$(BIN)/python -m pytest -n auto --dist worksteal -m "slow or not slow"

lint: setup ## check style (ruff)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: setup ## check types (mypy)
	$(BIN)/mypy

# of benchmarks/, what measures speed or memory and needs neither a checkpoint nor real speech, a GPU or hours
BENCHES ?= adain_vc_step anonymizers audio bf16_step busy_machine converter_speed convolutions dispatch evaluation_memory evaluation_speed griffin_lim muon \
	pitch_rate pix2pix_sizes preparation published_loop random_cnn random_cnn_whole reading scale speechsplit_step together vocoder_speed

bench: setup ## measure speed and memory by all benchmarks that need nothing but time, or some: make bench BENCHES='audio scale'
	@for name in $(BENCHES); do echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py || exit 1; done

benchmark-table: setup ## train every small system on the embedded corpus and evaluate all together: an hour or two on a CPU
	$(BIN)/python benchmarks/table/run.py

lock: ## write requirements.lock anew from pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" --extra synthetic --extra export --extra formats --extra sweeps --extra dev pyproject.toml --output-file requirements.lock >/dev/null

clean: ## remove the environment, caches and runs (corpora in data/ stay)
	rm -rf $(VENV) outputs multirun dist build .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
