# Two commands do it all: `make start` and `make test`. `make help` lists the others.
PYTHON ?= python3
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
LOCK = .venv-test/bin/uv pip compile --quiet --universal --upgrade --python-version 3.10 \
    --generate-hashes --no-strip-extras --no-annotate --custom-compile-command "make lock"
COVERAGE = --cov --cov-report=term:skip-covered
NO_DEPS = requirements-sdk.txt requirements-openvino.txt
# The Label Studio of the end-to-end tests: the pinned one, or LABEL_STUDIO=1.22.0 say.
PINNED_STUDIO = $(shell sed -n 's/^label-studio==//p' requirements/studio.in)
STUDIO = .venv-studio$(patsubst %,-%,$(filter-out $(PINNED_STUDIO),$(LABEL_STUDIO)))

.PHONY: help start studio test compat check e2e fuzz soak audit bench load everything-bench quality similar-bench screenshot lock clean

help:  ## list all commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

start: .venv/ready  ## install everything and run the back end on port 9090
	@./download_models.sh --model mobile_sam
	@exec .venv/bin/python _wsgi.py

studio: .venv/ready .venv-studio/ready  ## the back end and a Label Studio with a sample project
	@./download_models.sh --model mobile_sam
	@.venv/bin/python -m tools.studio

# TORCH=1 adds the tests of the optional engines: gigabytes, where PyTorch comes with CUDA.
# RAY=1 adds the tests on a Ray cluster: 80 MB.
test: check .venv-studio/ready $(if $(TORCH),.venv-test/torch) $(if $(RAY),.venv-test/ray)  ## every check and every test; set up on first use
	@./download_models.sh --model mobile_sam
	.venv-test/bin/python -m pytest --ignore tests/e2e $(COVERAGE)
	.venv-test/bin/python -m pytest tests/e2e

compat:  ## the tests without a browser on another Python: make compat PYTHON=python3.13
	$(call environment,.venv-compat)
	.venv-compat/bin/python $(PIP_INSTALL) -r requirements.txt -r requirements/test.txt
	.venv-compat/bin/python $(PIP_INSTALL) --no-deps $(NO_DEPS:%=-r %) -r requirements/test-sdk.txt
	./download_models.sh --model mobile_sam
	.venv-compat/bin/python -m pytest --ignore tests/e2e

check: .venv-test/ready  ## formatting, lint, types, and which package imports which
	.venv-test/bin/ruff format --check .
	.venv-test/bin/ruff check .
	.venv-test/bin/mypy
	PYTHONPATH=. .venv-test/bin/lint-imports
	.venv-test/bin/shellcheck download_models.sh .ci/run
	.venv-test/bin/hadolint --failure-threshold warning Dockerfile

e2e: .venv-test/ready $(STUDIO)/ready  ## the tests with a real Label Studio only; LABEL_STUDIO=1.22.0 for another version
	@./download_models.sh --model mobile_sam
	LABEL_STUDIO_BIN=$(STUDIO)/bin/label-studio .venv-test/bin/python -m pytest tests/e2e

fuzz: .venv-test/ready  ## hostile inputs only; FUZZ=10 sends ten times as many, COSTS=file records their cost
	@./download_models.sh --model mobile_sam
	COSTS_CASES=$${COSTS_CASES:-2000} .venv-test/bin/python -m pytest tests/fuzz

soak: .venv/ready  ## many clicks beside slow clients: make soak SOAK="clicks --clicks 10000"
	@./download_models.sh --model mobile_sam
	@.venv/bin/python -m tools.soak $(SOAK)

audit: .venv-test/ready  ## known vulnerabilities of the installed packages; asks pypi.org
	@.venv-test/bin/python -m tools.audit

bench: .venv/ready .venv-bench/ready  ## compare speed with the usual back end, as ratios; PLOTS=folder: growth
	@./download_models.sh --model mobile_sam
	@.venv/bin/python -m tools.bench $(BENCH)
	@if [ -n "$(PLOTS)" ]; then .venv/bin/python -m tools.bench.growth "$(PLOTS)" \
	    && .venv-bench/bin/python -m tools.bench.growth_plots "$(PLOTS)"; fi

load: .venv/ready  ## many annotators at once: make load LOAD="--annotators 64 --workers 1 2"
	@./download_models.sh --model mobile_sam
	@.venv/bin/python -m tools.load $(LOAD)

everything-bench: .venv/ready .venv-bench/ready  ## everything mode beside segment_anything's: FOLDER=…
	@./download_models.sh --model mobile_sam
	@.venv/bin/python -m tools.quality.everything $(FOLDER)

quality: .venv/ready  ## compare masks per click with the usual rule: make quality FOLDER=…
	@./download_models.sh --model mobile_sam
	@.venv/bin/python -m tools.quality $(FOLDER)

similar-bench: .venv/ready  ## measure how much of a kind one example finds: FOLDER=…
	@./download_models.sh --model mobile_sam
	@.venv/bin/python -m tools.quality.similar $(FOLDER)

screenshot: .venv-test/ready .venv-studio/ready  ## take the pictures of the editor and of /try again
	@./download_models.sh --model mobile_sam
	.venv-test/bin/python -m tools.pictures.clicks
	.venv-test/bin/python -m tools.pictures.outputs
	.venv-test/bin/python -m tools.pictures.try_page

lock: .venv-test/ready  ## pin and hash the packages in pyproject.toml and requirements/*.in
	$(LOCK) pyproject.toml --extra sdk --extra redis -o requirements.txt
	$(LOCK) requirements/test.in -o requirements/test.txt
	$(LOCK) requirements/studio.in -o requirements/studio.txt
	$(LOCK) requirements/ray.in -o requirements-ray.txt

clean:  ## remove environments and caches; weights and Label Studio's data stay
	rm -rf .venv .venv-test .venv-compat .venv-studio .venv-studio-* .venv-bench .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/ready: requirements.txt $(NO_DEPS)
	$(call environment,.venv)
	.venv/bin/python $(PIP_INSTALL) -r requirements.txt
	.venv/bin/python $(PIP_INSTALL) --no-deps $(NO_DEPS:%=-r %)
	@touch $@

.venv-test/ready: requirements.txt $(NO_DEPS) requirements/test.txt requirements/test-sdk.txt
	$(call environment,.venv-test)
	.venv-test/bin/python $(PIP_INSTALL) -r requirements.txt -r requirements/test.txt
	.venv-test/bin/python $(PIP_INSTALL) --no-deps $(NO_DEPS:%=-r %) -r requirements/test-sdk.txt
	@touch $@

.venv-test/torch: .venv-test/ready requirements-torch.txt requirements-transformers.txt
	.venv-test/bin/python $(PIP_INSTALL) -r requirements-torch.txt -r requirements-transformers.txt
	@touch $@

.venv-test/ray: .venv-test/ready requirements-ray.txt
	.venv-test/bin/python $(PIP_INSTALL) -r requirements-ray.txt
	@touch $@

.venv-studio/ready: requirements/studio.txt
	$(call environment,.venv-studio)
	.venv-studio/bin/python $(PIP_INSTALL) -r requirements/studio.txt
	@touch $@

# Another version, with the packages that it asks for: only the pinned one has hashes.
.venv-studio-%/ready:
	$(call environment,.venv-studio-$*)
	.venv-studio-$*/bin/python $(PIP_INSTALL) label-studio==$*
	@touch $@

.venv-bench/ready: requirements/bench.txt requirements/bench-no-deps.txt
	$(call environment,.venv-bench)
	.venv-bench/bin/python $(PIP_INSTALL) -r requirements/bench.txt
	.venv-bench/bin/python $(PIP_INSTALL) --no-deps -r requirements/bench-no-deps.txt
	@touch $@

define environment
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else "Python 3.10 to 3.13 is needed, this is " + sys.version.split()[0] + ": say which with make PYTHON=python3.12 …")'
	@echo "$(1): installing (first time only)"
	@$(PYTHON) -m venv --clear $(1)
endef
