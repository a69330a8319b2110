# `make run PYTHON=python3.12` chooses the Python that the environment is made with.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BROWSER := .venv/.browser
SITE := .venv/.site
SLURM := .venv/.slurm
OLDEST := build/oldest

# Full-size feature maps are larger than what glibc keeps on its heap: each would be fetched from the kernel
# page by page and given back at once. Keeping them saves a seventh of the time of training or more, and changes no result.
export MALLOC_MMAP_MAX_ := 0
export MALLOC_TRIM_THRESHOLD_ := 17179869184
export MALLOC_TOP_PAD_ := 268435456
# The library sets this default too (defusion_lib/__init__.py), which is too late where torch is imported first.
ifndef OMP_WAIT_POLICY
GOMP_SPINCOUNT ?= 1000
export GOMP_SPINCOUNT
endif
# Notebooks run on this environment's kernel, and draw their figures where they can be seen.
export JUPYTER_PREFER_ENV_PATH := 1
unexport JUPYTER_PATH MPLBACKEND

# quick, or a folder of params/: make run PROFILE=cpu
PROFILE ?= quick

# Empty for this machine, or a folder of tools/ (see tools/slurm/README.md): make run PROFILE=paper CLUSTER=slurm
CLUSTER ?=

.PHONY: help install run test test-quick test-oldest test-browser test-cluster lint verify determinism bench bench-spin fuzz store lab class explorer site bundle clean

help:   ## list these targets
	@sed -n 's/^\([a-z0-9-]*\): .*## /make \1\t/p' Makefile

# Results are stored from processors, and tolerances were measured on them.
test test-quick test-oldest verify store: export CUDA_VISIBLE_DEVICES :=

install: $(READY)   ## install everything into .venv (the other targets do so when they need it)

run: $(READY) $(if $(filter slurm,$(CLUSTER)),$(SLURM))   ## execute the notebooks into outputs/quick/ (minutes); PROFILE=cpu: on real photos with two cores (hours); CLUSTER=slurm: as jobs of Slurm; CLUSTER=local: as jobs side by side on this machine
	@$(BIN)/python -m defusion_lib.apps.cli run "$(PROFILE)" $(if $(CLUSTER),--cluster "$(CLUSTER)")

test: $(READY) lint   ## check style and types, run the unit tests, compare notebook cells with their stored outputs
	rm -rf build/test
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests
	DEFUSION_OUTPUTS="$(CURDIR)/build/test" $(BIN)/pytest -q -n 2 --dist loadfile --nbval --nbval-current-env notebooks
	$(BIN)/python -m tools.verify build/test/quick

test-quick: $(READY)   ## run the unit tests that take no longer than a second each (under two minutes)
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow" tests

# Without git (a downloaded archive) pre-commit cannot list the files.
lint: $(READY)   ## check style (ruff) and types (mypy), notebooks too
	@if git rev-parse --git-dir >/dev/null 2>&1; then $(BIN)/pre-commit run --all-files; \
	else $(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy; fi

# The list of pins belongs to newer versions, NumPy 2.0 starts lscpu where a test allows no other program, and
# the debugger of ipykernel 6.29 warns of Python's frozen modules where a test allows no other words.
test-oldest: $(OLDEST)/.ready   ## unit tests with the oldest versions allowed (fetches gigabytes, once; PYTHON=python3.11)
	DEFUSION_OUTPUTS="$(CURDIR)/$(OLDEST)/outputs" PYDEVD_DISABLE_FILE_VALIDATION=1 $(OLDEST)/bin/pytest -q tests \
		--deselect tests/test_dependencies.py::test_what_dependencies_need_is_pinned_too \
		--deselect tests/data/test_synthetic.py::test_photographs_come_from_the_wheels_and_nothing_from_a_network

test-browser: $(BROWSER) $(SITE)   ## drive explorer, gallery, site and its detector in a real browser; needs Chromium, keeps pictures in build/browser/
	$(BIN)/pytest -q tests/browser/check_explorer.py
	$(BIN)/pytest -q tests/browser/check_gallery.py
	$(BIN)/pytest -q tests/browser/check_site.py
	$(BIN)/pytest -q tests/browser/check_demo.py

test-cluster: $(SLURM)   ## start a Slurm of one node, and run, kill and resume notebooks on it; installs Debian's Slurm, as root
	$(BIN)/pytest -q tests/cluster/check_slurm.py

verify: export DEFUSION_OUTPUTS := $(CURDIR)/build/verify
verify: $(READY)   ## recompute the quick results, and compare numbers and arrays of figures with the stored ones
	rm -rf build/verify
	@$(BIN)/python -m defusion_lib.apps.cli run quick
	$(BIN)/python -m tools.verify build/verify/quick

determinism: $(READY)   ## measure variation across machines; the test tolerances derive from it
	$(BIN)/python -m tools.determinism

fuzz: $(READY)   ## read 300 damaged files: each must give one clear error or its content (a minute)
	TQDM_DISABLE=1 $(BIN)/python -m tools.fuzz

store: $(READY)   ## execute the notebooks, and store their outputs and results after a change
	rm -rf build/store
	DEFUSION_OUTPUTS="$(CURDIR)/build/store" $(BIN)/jupyter nbconvert --to notebook --execute \
		--ExecutePreprocessor.record_timing=False --output-dir build/store/notebooks notebooks/*.ipynb
	cp build/store/notebooks/*.ipynb notebooks/
	$(BIN)/python -m tools.verify build/store/quick --store

bench: $(READY)   ## time the compared methods, and each against its plain loop version (minutes; python -m tools.bench_map and tools.bench_score time the commands)
	$(BIN)/python -m tools.bench

bench-spin: $(READY)   ## time a training step and make run on free cores and beside busy loops (half an hour, nothing else running)
	$(BIN)/python -m tools.bench_spin

# An upload is one message, for which tornado allows 10 MiB; the explorer reads its new limit from DEFUSION_UPLOAD.
UPLOAD := tornado_settings='{"websocket_max_message_size": 68000000}'

# JupyterLab saves what it runs, here into the checkout; with LAB=build/class/student it opens copies.
LAB ?= notebooks

lab: $(READY)   ## open JupyterLab on the notebooks, where saving changes them; LAB=FOLDER: on the copies in a folder
	DEFUSION_UPLOAD="64 MB" $(BIN)/jupyter lab --ServerApp.$(UPLOAD) "$(LAB)"

class: $(READY)   ## write copies for a class: build/class/student/ without solutions, build/class/key/ with answers
	$(BIN)/python -m tools.classroom build/class

explorer: $(BROWSER)   ## open notebook 14 as a page without code (Voila)
	DEFUSION_UPLOAD="64 MB" $(BIN)/voila --Voila.$(UPLOAD) notebooks/14_explorer.ipynb

site: $(SITE)   ## build notebooks, pages, the index of the paper, the claims and a detector (needs npm) as static HTML: build/site/index.html
	$(BIN)/python -m tools.site

bundle: $(READY)   ## pack a training for a GPU machine without an internet connection: PROFILE=paper DATA=data/shi BACKBONE=file
	$(BIN)/python -m tools.bundle "$(PROFILE)" --data "$(DATA)" --backbone "$(BACKBONE)"

clean:   ## remove the environment, what the quick profile and the tests made, and build/ with bundles and copies for a class
	rm -rf .venv build .snakemake outputs/quick

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and sys.argv[1] % sys.version_info[:2])' \
		"Python 3.11 or newer is needed, not %d.%d: name one as in make run PYTHON=python3.12."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e ".[dev]"
	@touch $@

$(OLDEST)/.ready: pyproject.toml
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	sed -n 's/^    "\([^">]*\)>=\([^",]*\).*/\1==\2/p' pyproject.toml > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/pip install -c $(OLDEST)/constraints.txt -e ".[dev]"
	@touch $@

$(BROWSER): $(READY)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[browser]"
	@touch $@

$(SITE): $(READY)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[site]"
	@touch $@

# The plugin alone: it asks for a newer NumPy than pysodmetrics allows, for a report that is not made here.
$(SLURM): $(READY)
	$(BIN)/pip install --quiet --no-deps -c constraints.txt snakemake-executor-plugin-slurm snakemake-executor-plugin-slurm-jobstep
	@touch $@
