# Everything works from nothing: Python 3.11 or newer, make, and a package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
JOBS   ?= 2

.PHONY: demo test check battery format clean

# Photographs annotated by the model that ships, and a page of them. PHOTO is an image, folder or video of yours; without
# one, photographs that come with scikit-image.
PHOTOGRAPHS = $(VENV)/photographs
PHOTO ?= $(PHOTOGRAPHS)
MODEL ?= yolo9000-small
demo: $(VENV)/core.stamp $(if $(filter file,$(origin PHOTO)),$(PHOTOGRAPHS))
	rm -rf demo
	$(BIN)/yolo9000 predict "$(PHOTO)" --model "$(MODEL)" --out demo --format html --format jsonl
	@echo "To look at: demo/index.html"

$(PHOTOGRAPHS): | $(VENV)/bin/python
	$(PIP) --no-deps --target $(VENV)/scikit-image scikit-image
	mkdir -p $@.new
	cd $(VENV)/scikit-image/skimage/data && cp astronaut.png camera.png chelsea.png coffee.png motorcycle_left.png rocket.jpg $(abspath $@.new)
	mv $@.new $@

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --max-worker-restart 0 -m "not battery"

battery: $(VENV)/dev.stamp
	YOLO9000_BATTERY=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --max-worker-restart 0

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo runs build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "yolo9000 needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[openvino]"
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[openvino,train,dev]"
	touch $@ $(VENV)/core.stamp
