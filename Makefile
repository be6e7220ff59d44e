# make demo | test | lint | bench: each sets up .venv on its first run and works offline afterwards.
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
WHEEL ?= .venv-wheel
PACKAGING ?= .venv-packaging
RTX ?= .venv-rtx
OPENVINO ?= .venv-openvino
TORCHTRT ?= .venv-torchtrt
MODELOPT ?= .venv-modelopt
DOCS ?= .venv-docs
DEMO_OUT ?= demo-output
DEMO_ADDRESS ?= zmq://127.0.0.1:5560
DEMO_FRAMES ?= 300

PY := $(VENV)/bin/python
NODE_STAMP := $(VENV)/.node
STAMP := $(VENV)/.installed
LOWEST_STAMP := $(LOWEST)/.installed
# The tests that need no torch, so that they also run with the lowest versions.
LOWEST_TESTS := tests/stream tests/sources tests/ros2 tests/sinks tests/runtime tests/web tests/test_types.py tests/test_client.py \
  tests/test_annotate.py tests/test_cache.py tests/test_imports.py tests/test_preprocess.py tests/test_live.py tests/test_download.py tests/test_public_api.py \
  tests/test_completion.py tests/test_progress.py

.PHONY: docs docs-serve demo test test-lowest test-wheel package proof proof-demo proof-base lint format bench soak ablation setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         a synthetic video stream in; tracks and captions out: on screen, in files, over ZeroMQ"
	@echo "make test         all tests"
	@echo "make test-lowest  the tests without torch, on Python 3.10 with the lowest allowed versions"
	@echo "make test-wheel   the wheel in a fresh environment, without torch"
	@echo "make package      the sdist and the wheel, into dist/, with their checks"
	@echo "make proof        the exported graphs in other runtimes and through TensorRT's builder (PROOF_SIZE=base: paper size)"
	@echo "make proof-ci     the part of it that CI runs, in three minutes"
	@echo "make lint         ruff and mypy over the whole tree"
	@echo "make bench        the benchmark table (BENCH_ARGS='--json FILE' keeps it)"
	@echo "make soak         200,000 steps at full speed with faults by chance; fails when a bound on memory, latency or order does"
	@echo "make ablation     the paper's ablations on the synthetic world, into docs/ablation.md (80 minutes on two cores)"
	@echo "make docs         the documentation as a site, in site/; fails on a broken link (make docs-serve: while you write)"
	@echo "make format       let ruff rewrite the code"

setup: $(STAMP)

# At a terminal pip shows what it loads, elsewhere it is quiet.
PIP_INSTALL = $(PY) -m pip install $$([ -t 1 ] || echo --quiet) --disable-pip-version-check -c constraints.txt

# The node alone, without PyTorch and the tools of developers: enough for the demo.
$(NODE_STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is older than Python 3.10: name a newer one, e.g. make PYTHON=python3.11"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	  { echo "no virtual environment could be made: on Debian, apt-get install python3-venv"; exit 1; }
	@echo "setting up $(VENV) (once)"
	@$(PIP_INSTALL) -e .
	@touch $@

$(STAMP): $(NODE_STAMP)
	@echo "setting up $(VENV) for tests and training (once)"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@

# Bounded where nobody could stop it: without a terminal, without a display, in CI, or with HEADLESS set.
demo: $(NODE_STAMP)
	@mkdir -p $(DEMO_OUT)
	@if [ -t 1 ] && [ -z "$$CI$$HEADLESS" ] && [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
	  bound="--max-fps 30"; \
	else \
	  bound="--headless --max-frames $(DEMO_FRAMES)"; \
	fi; \
	$(PY) -m henasy_stream.live --source world --publish $(DEMO_ADDRESS) \
	  --record $(DEMO_OUT)/world.jsonl --annotate $(DEMO_OUT)/world.mp4 $$bound
	@echo
	@echo "$(DEMO_OUT)/world.mp4    the annotated video"
	@echo "$(DEMO_OUT)/world.jsonl  every message, one a line (docs/messages.md)"
	@echo "While it runs, $(PY) -m henasy_stream.client $(DEMO_ADDRESS) prints what it publishes."

test: $(STAMP)
	@$(PY) -m pytest $(TEST_ARGS)

lint: $(STAMP)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: $(STAMP)
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(STAMP)
	@$(PY) -m benchmarks $(BENCH_ARGS)

soak: $(STAMP)
	@OMP_NUM_THREADS=1 $(PY) -m benchmarks._soak $(SOAK_ARGS)

# Two runs side by side, a thread each; the same command goes on where it was stopped.
ablation: $(STAMP)
	@$(PY) training/ablation.py --jobs 2 $(ABLATION_ARGS)

# Python 3.10 from PATH, or from pyenv where its shim is not switched on.
PYTHON310 ?= $(shell for p in python3.10 $$(pyenv root 2>/dev/null)/versions/3.10.*/bin/python3.10; do \
  if $$p -c '' 2>/dev/null; then echo $$p; break; fi; done)

test-lowest:
ifeq ($(PYTHON310),)
	@echo "test-lowest skipped: no Python 3.10 on this machine"
else
	@$(MAKE) --no-print-directory $(LOWEST_STAMP)
	@OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -m "not slow" $(wildcard $(LOWEST_TESTS))
endif

$(LOWEST_STAMP): pyproject.toml constraints-lowest.txt
	@test -x $(LOWEST)/bin/python || $(PYTHON310) -m venv $(LOWEST)
	@echo "setting up $(LOWEST) (once)"
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: -r constraints-lowest.txt
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# What can be proved of the exported graphs without a GPU.  Each tool has an environment of its own; what could not be
# installed is skipped and says so, but in proof-ci, where it fails.  PROOF_SIZE=base: the paper's size, random weights.
PROOF_SIZE ?= demo
PROOF_OUT ?= $(RTX)/bundles
PROOF_TOOLS := $(RTX) $(OPENVINO) $(TORCHTRT)
ALL_TOOLS := $(PROOF_TOOLS) $(MODELOPT)
PROOF_RTX = $(PY) export/proof.py --rtx $(RTX)/bin/python
PROOF_OPENVINO = $(PY) export/proof_openvino.py --openvino $(OPENVINO)/bin/python
PROOF_TORCHTRT = $(PY) export/proof_torch_tensorrt.py --torchtrt $(TORCHTRT)/bin/python

$(RTX)/.installed: PACKAGES = tensorrt_rtx==1.5.0.114
$(OPENVINO)/.installed: PACKAGES = openvino==2026.4.1
# Without what it asks for, which is PyTorch with CUDA: it sees what $(VENV) has.
$(TORCHTRT)/.installed: PACKAGES = --no-deps torch-tensorrt-rtx==2.13.0 dllist==2.0.0 tensorrt_rtx==1.5.0.114 \
  tensorrt_rtx_cu13==1.5.0.114 tensorrt_rtx_cu13_bindings==1.5.0.114 tensorrt_rtx_cu13_libs==1.5.0.114
$(MODELOPT)/.installed: PACKAGES = --no-deps -r export/modelopt.txt
$(TORCHTRT)/.installed $(MODELOPT)/.installed: SEES = $(VENV)
$(ALL_TOOLS:=/.installed): $(STAMP)
	@echo "setting up $(@D) (once)"
	@test -x $(@D)/bin/python || $(PY) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PACKAGES)
	@test -z "$(SEES)" || $(PY) -c 'import site; print(site.getsitepackages()[0])' \
	  > "$$($(@D)/bin/python -c 'import site; print(site.getsitepackages()[0])')/seen.pth"
	@touch $@

# nvidia-modelopt for export/quantise_tensorrt.py.
modelopt: $(MODELOPT)/.installed

proof: $(STAMP)
	@$(MAKE) --no-print-directory --keep-going $(PROOF_TOOLS:=/.installed) || echo "a tool could not be installed"
	@$(MAKE) --no-print-directory proof-$(PROOF_SIZE)
	@$(PY) export/page.py

proof-demo:
	@for weights in demo demo-causal; do for precision in fp32 fp16; do \
	  $(PY) export/export.py --weights $$weights --precision $$precision --parts \
	    --out $(PROOF_OUT)/$$weights-$$precision --json docs/results/export.json || exit; \
	done; done
	@$(PROOF_OPENVINO) $(PROOF_OUT)/demo*-fp* --weights demo demo-causal --json docs/results/openvino.json
	@$(PROOF_RTX) $(PROOF_OUT)/demo*-fp* --json docs/results/rtx.json
	@$(PROOF_TORCHTRT) --weights demo demo-causal --json docs/results/torch_tensorrt.json

# The same of the bundles that ship and of their like in half precision, with one architecture, and without a way around
# a missing tool.
SHIPPED := henasy_stream/weights/demo henasy_stream/weights/demo-causal
proof-ci: $(PROOF_TOOLS:=/.installed)
	@for weights in demo demo-causal; do \
	  $(PY) export/export.py --weights $$weights --precision fp16 --steps 8 --out $(PROOF_OUT)/ci-$$weights || exit; \
	done
	@$(PROOF_OPENVINO) --require $(SHIPPED) $(PROOF_OUT)/ci-* --weights demo demo-causal
	@$(PROOF_RTX) --require $(SHIPPED) $(PROOF_OUT)/ci-* --architectures SM86
	@HENASY_RTX_PYTHON=$(RTX)/bin/python OMP_NUM_THREADS=1 $(PY) -m pytest -rs tests/backends/test_tensorrt_build.py
	@$(PROOF_TORCHTRT) --require --weights demo --precision fp32 --steps 2 --no-build

# Eight bits for TensorRT: scores before and after, and builds.
proof-quantised: $(MODELOPT)/.installed $(RTX)/.installed
	@rm -rf $(PROOF_OUT)/quantised && mkdir -p $(PROOF_OUT)/quantised
	@for weights in demo demo-causal; do for mode in int8 fp8; do \
	  $(PY) export/quantise_tensorrt.py henasy_stream/weights/$$weights --weights $$weights --mode $$mode \
	    --modelopt $(MODELOPT)/bin/python --out $(PROOF_OUT)/quantised/$$weights-$$mode \
	    --json docs/results/modelopt.json || exit; \
	done; done
	@$(PROOF_RTX) $(PROOF_OUT)/quantised/* --json docs/results/rtx-quantised.json

proof-base:
	@for size in base base-causal; do \
	  $(PY) export/random_weights.py $$size --out $(PROOF_OUT)/$$size.safetensors || exit; \
	  for precision in fp32 fp16; do \
	    $(PY) export/export.py --weights $(PROOF_OUT)/$$size.safetensors --precision $$precision --steps 10 \
	      --out $(PROOF_OUT)/$$size-$$precision --json docs/results/export-base.json || exit; \
	  done; \
	done
	@$(PROOF_OPENVINO) $(PROOF_OUT)/base*-fp* --weights $(PROOF_OUT)/base.safetensors $(PROOF_OUT)/base-causal.safetensors \
	  --steps 10 --json docs/results/openvino-base.json
	@$(PROOF_RTX) $(PROOF_OUT)/base*-fp* --json docs/results/rtx-base.json
	@$(PROOF_TORCHTRT) --weights $(PROOF_OUT)/base.safetensors $(PROOF_OUT)/base-causal.safetensors --precision fp32 \
	  --steps 2 --no-build --json docs/results/torch_tensorrt-base.json
	@rm -rf $(PROOF_OUT)/base*

# What a user without a checkout has: the wheel and what it asks for, which is not torch.
test-wheel: package
	@rm -rf $(WHEEL) && $(PYTHON) -m venv $(WHEEL)
	@$(WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	@cd $(WHEEL) && ! bin/python -c 'import torch' 2>/dev/null
	@cd $(WHEEL) && bin/henasy doctor
	@cd $(WHEEL) && bin/henasy live --list-cameras --json && bin/henasy completion bash | bash -n
	@cd $(WHEEL) && bin/python -c "from henasy_stream.web.files import assets; assets()['/'], assets()['/inter.woff2']"
	@cd $(WHEEL) && bin/henasy live --source world --headless --max-frames 60 --write-config node.yaml
	@cd $(WHEEL) && bin/python -m henasy_stream.live --config node.yaml --queries cup --record r.jsonl
	@cd $(WHEEL) && bin/python -m henasy_stream.live --weights demo-causal --source world --headless --max-frames 30
	@cd $(WHEEL) && grep -q '"label":"cup"' r.jsonl && test -f share/henasy-stream/henasy-stream.service
	@$(WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/*.tar.gz
	@cd $(WHEEL) && bin/henasy --version && du -sh ../dist/* lib | sed 's/^/installed: /'

# The sdist, the wheel that is built from it, and what can be said of both and of the Dockerfiles without an upload.
package: $(PACKAGING)/.installed
	@rm -rf dist
	@$(PACKAGING)/bin/python -m build --outdir dist . > $(PACKAGING)/build.log 2>&1 || { cat $(PACKAGING)/build.log; exit 1; }
	@$(PACKAGING)/bin/twine --no-color check --strict dist/*
	@$(PACKAGING)/bin/hadolint --no-color docker/*/Dockerfile
	@$(PACKAGING)/bin/cffconvert --validate -i CITATION.cff

$(PACKAGING)/.installed: packaging/requirements.txt
	@test -x $(PACKAGING)/bin/python || $(PYTHON) -m venv $(PACKAGING)
	@$(PACKAGING)/bin/python -m pip install --quiet --disable-pip-version-check -r packaging/requirements.txt
	@touch $@

# NO_MKDOCS_2_WARNING: the theme's notice that it is maintained until May 2027.
docs docs-serve: export NO_MKDOCS_2_WARNING = 1
docs: $(DOCS)/.installed
	@$(DOCS)/bin/mkdocs build --quiet
	@echo "site/index.html"

docs-serve: $(DOCS)/.installed
	@$(DOCS)/bin/mkdocs serve

$(DOCS)/.installed: docs/requirements.txt
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(WHEEL) $(PACKAGING) dist site $(PROOF_TOOLS) $(DOCS) $(DEMO_OUT) .pytest_cache .mypy_cache .ruff_cache
