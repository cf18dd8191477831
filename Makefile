# The steps of the companion by name; `make` alone lists them.
#
#   PYTHON  the interpreter that the environment is made from
#   VENV    the folder of the environment
#   JOBS    how many chapters run at once, one thread each
#   PY      given on the command line (make book PY=python), that Python is used as it is, and
#           nothing is made or installed

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
JOBS ?= 2

PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
ifeq ($(origin PY),command line)
INSTALLED :=
else ifeq ($(strip $(VENV)),)
$(error VENV is empty; to use the active environment say PY=python)
endif

# Where the console scripts of PY lie, for the tools that `python -m` cannot start.
SCRIPTS = $(shell $(PY) -c 'import sysconfig; print(sysconfig.get_path("scripts"))')

CHAPTERS := 01_exploration 02_caching 03_feature_map_regularization 04_adversarial_robustness \
	05_feature_evolution 06_what_feature_maps_see 07_inversion_and_dissection \
	08_ablation_and_transfer 09_convolutional_similarity what_we_found claims provenance use_it
RUNS := $(CHAPTERS:%=run-%)

# What is being made; it takes the place of what was there when it is complete, and not before.
SOURCE := _build/source
RENEWED := _build/chapters

# Runs every chapter, JOBS at once, and writes it to the folder $(1); fails if one of them fails.
# (Here and below, exec hands make's signals on, so that nothing runs on when make is ended.)
run-chapters = exec $(MAKE) --no-print-directory -k -j$(JOBS) PY="$(PY)" TO="$(1)" $(RUNS)

# Runs one notebook again, compares its outputs, and prints the report in one piece.
NBVAL = $(PY) -m pytest -q --nbval --nbval-current-env -p no:cacheprovider \
	-o addopts= -o filterwarnings=default

# Makes the small float64 records again: a few seconds each, on the images in the package.
RECOMPUTE = $(PY) -m fmlib audit 'mnist-3000-*'

.DEFAULT_GOAL := help
.PHONY: help env book pdf chapters test check audit bench clean $(RUNS)

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

env: $(INSTALLED) ## make the environment, or renew it when the lock has changed

$(VENV)/.installed: requirements.txt pyproject.toml
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the packages of requirements.txt into $(VENV) (a few minutes the first time)"
	@$(VENV)/bin/python -m pip install --quiet -r requirements.txt
	@$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

book: $(INSTALLED) ## run every chapter anew and build the web pages; book/ stays as it is
	@if test -d _build/replaced && ! test -d _build/html; then mv _build/replaced _build/html; fi
	@rm -rf $(SOURCE) _build/replaced
	@mkdir -p $(SOURCE)
	@cp -R book $(wildcard results) _config.yml _toc.yml $(SOURCE)
	@find $(SOURCE) -mindepth 1 -name '.*' -prune -exec rm -rf {} +
	@$(call run-chapters,$(SOURCE)/book)
	@echo "building the pages (progress in _build/pages.log)"
	@exec "$(SCRIPTS)/jupyter-book" build $(SOURCE) -n -W --keep-going >_build/pages.log
	@test -f $(SOURCE)/_build/html/index.html
	@trap '' INT TERM HUP; if test -d _build/html; then mv _build/html _build/replaced; fi; \
		mv $(SOURCE)/_build/html _build/html
	@rm -rf _build/replaced
	@echo "$(CURDIR)/_build/html/index.html"

pdf: $(INSTALLED) ## print the pages of `make book` into one file (needs Chrome or Chromium)
	@exec $(PY) -m tools.pdf _build/html _build/book.pdf

chapters: $(INSTALLED) ## run every chapter anew and renew the notebooks in book/ and the README's table
	@rm -rf $(RENEWED)
	@mkdir -p $(RENEWED)
	@$(call run-chapters,$(RENEWED))
	@trap '' INT TERM HUP; mv $(RENEWED)/*.ipynb book
	@exec $(PY) -c "from fmlib import chapters; chapters.write_headline()"

$(RUNS): export OMP_NUM_THREADS := 1
$(RUNS): run-%:
	@name=$*; echo "running $$name"; \
	exec $(PY) -m fmlib run "$${name#[0-9][0-9]_}" --out "$(TO)/$$name.ipynb"

check: $(INSTALLED) ## style, types, and the one-way flow between modules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	"$(SCRIPTS)/lint-imports"

test: check ## check, all tests, and the committed chapters against a new run
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist worksteal
	$(PY) -m pytest -m "slow and not pages" -rs
	$(PY) -m pytest -m pages -rs -n $(JOBS) --dist worksteal
	$(RECOMPUTE)
	@echo "comparing the chapters in book/ with a new run"
	@printf '%s\n' $(CHAPTERS:%=book/%.ipynb) | OMP_NUM_THREADS=1 xargs -P $(JOBS) -n 1 sh -c \
		'out=$$($(NBVAL) "$$0" 2>&1); code=$$?; printf "%s\n%s\n" "$$0" "$$out"; exit $$code'

audit: $(INSTALLED) ## recompute a few records and compare
	$(RECOMPUTE)

bench: $(INSTALLED) ## measure times and memory against peers' (most of an hour; full MNIST)
	@exec $(PY) -m benchmarks

clean: ## remove everything built, and the tools' caches
	rm -rf _build book/*.failed.ipynb .fmlib-*.part */.fmlib-*.part */*/.fmlib-*.part
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find fmlib benchmarks tests tools book -name __pycache__ -type d -prune -exec rm -rf {} +
