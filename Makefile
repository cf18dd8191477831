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

CHAPTERS := 01_exploration 02_caching 03_feature_map_regularization 04_adversarial_robustness
SOURCE := _build/source

# Runs every chapter and writes it to the folder $(1); xargs fails if one of them fails.
define run-chapters
printf '%s\n' $(CHAPTERS) | OMP_NUM_THREADS=1 xargs -P $(JOBS) -I {} sh -c \
	'name={}; echo "running $$name"; \
	$(PY) -m fmlib run "$${name#*_}" --out "$(1)/$$name.ipynb" \
	|| { echo "$$name failed" >&2; exit 1; }'
endef

# Runs one notebook again, compares its outputs, and prints the report in one piece.
NBVAL = $(PY) -m pytest -q --nbval --nbval-current-env -p no:cacheprovider \
	-o addopts= -o filterwarnings=default

.DEFAULT_GOAL := help
.PHONY: help env book chapters test check clean

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
	@rm -rf $(SOURCE)
	@mkdir -p $(SOURCE)
	@cp -R book _config.yml _toc.yml $(SOURCE)
	@$(call run-chapters,$(SOURCE)/book)
	@rm -rf _build/html _build/.doctrees _build/jupyter_execute
	"$(SCRIPTS)/jupyter-book" build $(SOURCE) --path-output . -n -W --keep-going
	@test -f _build/html/index.html
	@echo "$(CURDIR)/_build/html/index.html"

chapters: $(INSTALLED) ## run every chapter anew and renew the notebooks in book/ and the README's table
	@$(call run-chapters,book)
	@$(PY) -c "from fmlib import chapters; chapters.write_headline()"

check: $(INSTALLED) ## style, types, and the one-way flow between modules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	"$(SCRIPTS)/lint-imports"

test: check ## check, all tests, and the committed chapters against a new run
	$(PY) -m pytest
	$(PY) -m pytest -m slow
	@echo "comparing the chapters in book/ with a new run"
	@printf '%s\n' book/*.ipynb | OMP_NUM_THREADS=1 xargs -P $(JOBS) -n 1 sh -c \
		'out=$$($(NBVAL) "$$0" 2>&1); code=$$?; printf "%s\n%s\n" "$$0" "$$out"; exit $$code'

clean: ## remove everything built, and the tools' caches
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find fmlib tests book -name __pycache__ -type d -prune -exec rm -rf {} +
