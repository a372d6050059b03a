PYTHON ?= python3
BIN := .venv/bin

# One thread per process: the tests run in parallel, the arrays are small.
export OMP_NUM_THREADS = 1

# Learning libraries, each in an environment of its own: some exclude one another.
LIBRARIES := torch sb3 torchrl benchmarl rllib
# Libraries with an example only, run with one version of each; some gigabytes more.
RECIPES := skrl agilerl tianshou xuance
# One version of PyTorch for all. For machines without a GPU there are builds without CUDA, some
# gigabytes smaller: tell pip where to find them.
TORCH ?= torch==2.13.0

.PHONY: demo check test integrations recipes lint format docs clean

demo: .venv/installed  ## both tasks, five episodes each, a video each in out/
	$(BIN)/aloha-marl demo

check: lint  ## most tests, in minutes: without those marked slow
	$(BIN)/pytest -q -n 2 -m "not slow"

test: lint  ## everything that must pass
	$(BIN)/pytest -q -n 2

integrations: $(LIBRARIES:%=integration-%)  ## each learning library's adapter and example

recipes: $(RECIPES:%=integration-%)  ## the examples of further libraries

integration-%: .venvs/%/installed
	.venvs/$*/bin/python -m pytest -q --library $* \
		tests/integrations/test_$**.py tests/integrations/test_examples.py

# The examples that need PyTorch alone.
integration-torch: .venvs/torch/installed
	.venvs/torch/bin/python -m pytest -q --library torch \
		tests/integrations/test_imitate.py tests/integrations/test_cleanrl.py tests/integrations/test_examples.py

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: .venv/installed  ## the pages and pictures made from the code
	$(BIN)/aloha-marl show transfer_cube insertion --markdown > docs/observations.md
	$(BIN)/python docs/_scripts/pictures.py
	$(BIN)/python docs/_scripts/crossplay.py
	$(BIN)/python docs/_scripts/imitation.py
	$(BIN)/python docs/_scripts/baselines.py

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	# Its files alone, for pictures to compare with: it asks for an older MuJoCo.
	$(BIN)/python -m pip install --quiet --no-deps gym-aloha
	touch $@

.venvs/%/installed: pyproject.toml
	$(PYTHON) -m venv .venvs/$*
	.venvs/$*/bin/python -m pip install --quiet '$(TORCH)' --editable '.[$*,test]'
	touch $@

.PRECIOUS: .venvs/%/installed

clean:
	rm -rf .venv .venvs build dist out
