PYTHON ?= python3
BIN := .venv/bin

# One thread per process: the tests run in parallel, the arrays are small.
export OMP_NUM_THREADS = 1

.PHONY: demo test lint format docs clean

demo: .venv/installed  ## both tasks, five episodes each, a video each in out/
	$(BIN)/aloha-marl demo

test: lint  ## everything that must pass
	$(BIN)/pytest -q -n 2

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: .venv/installed  ## the pages and pictures made from the code
	$(BIN)/aloha-marl show transfer_cube insertion --markdown > docs/observations.md
	$(BIN)/python docs/pictures.py
	$(BIN)/python docs/crossplay.py
	$(BIN)/python docs/imitation.py

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	# Its files only, which some pictures are compared with: it asks for an older MuJoCo.
	$(BIN)/python -m pip install --quiet --no-deps gym-aloha
	touch $@

clean:
	rm -rf .venv build dist out
