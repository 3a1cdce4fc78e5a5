# Every target sets up .venv by itself, from nothing, and again when pyproject.toml changes.
PYTHON_IN_VENV := .venv/bin/python
PYTEST := $(PYTHON_IN_VENV) -m pytest
SETUP := ./scripts/setup_venv
WORKERS ?= 2# test processes
JOBS ?= 1# tasks that `make results` runs at a time
CUDA ?= cuda12# or cuda13: which CuPy test-gpu installs
DOC_PAGES = $(wildcard README.md docs/*.md)
WITH_DOCTESTS = --doctest-modules --doctest-glob='*.md'

# One thread per test process: the processes already fill the cores, and sums stay reproducible.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help run test test-gpu fuzz bench results lint types docs clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: ## train the demonstration: a character-level LSTM, in about a minute
	@$(SETUP) run
	@$(PYTHON_IN_VENV) -m tinygrad_rnn demo

test: ## the suite and every doctest
	@$(SETUP) test
	@$(ONE_THREAD) $(PYTEST) -n $(WORKERS) --hypothesis-profile=ci $(WITH_DOCTESTS) \
		tests tinygrad_rnn $(DOC_PAGES)

test-gpu: ## the suite on an NVIDIA GPU through CuPy, then times (CUDA=cuda13 for CUDA 13)
	@CUDA=$(CUDA) ./scripts/gpu_check

fuzz: ## the property tests with many examples and a new seed each time
	@$(SETUP) test
	@$(ONE_THREAD) $(PYTEST) -n $(WORKERS) -m hypothesis --hypothesis-profile=fuzz tests

bench: ## speed and memory beside PyTorch, JAX, autograd and MyGrad
	@$(SETUP) run
	@$(SETUP) bench
	@$(PYTHON_IN_VENV) -m benchmarks

results: ## train every task of "What it learns"; resumable (DATA=folder of real data, JOBS=2)
	@$(SETUP) run
	@$(PYTHON_IN_VENV) -m benchmarks.tasks --jobs $(JOBS) $(if $(DATA),--data $(DATA)) $(TASKS)

lint: ## ruff
	@$(SETUP) dev
	@$(PYTHON_IN_VENV) -m ruff check .

types: ## mypy: strict on floors 0 to 4, ordinary above
	@$(SETUP) dev
	@$(PYTHON_IN_VENV) -m mypy

docs: ## run docs/learn.py and the doctests of README and docs
	@$(SETUP) test
	@$(PYTHON_IN_VENV) docs/learn.py
	@$(PYTEST) $(WITH_DOCTESTS) $(DOC_PAGES)

clean: ## remove what was generated; .venv and runs stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
