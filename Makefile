# make demo        fine-tune the embedded encoder on data/sample, score held-out reviews, write a page (minutes)
# make serve       serve on 127.0.0.1:8080 without TensorFlow; environment variables are the settings
# make test        run the tests; their servers use the environment that the image has; MARKS='slow or package' runs
#                  the groups that the default leaves out (pyproject.toml describes them)
# make lint        check style and types
# make docs        build the documentation into site/; a broken link fails
# make lock        compile requirements*.txt from pyproject.toml; UPGRADE=--upgrade takes newer versions
# make image-test  build the images and run them; needs root, buildah, debootstrap and curl, no container engine;
#                  TRAINING=no leaves out the training image
# make clean       remove environments, caches and the demo; datasets/, runs/ and my-models/ stay
#
# ops/containers.mk has the commands of the images: build_dev, build_api, download_data, train, start_api and others.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SERVING_VENV := .venv-serving
UV_VENV := .venv-uv
PIP := -m pip --disable-pip-version-check --quiet
INSTALL := $(UV_VENV)/bin/python ops/install.py
DEMO := demo
define new_venv
	@$(PYTHON) --version | grep -q ' 3\.11\.' || { echo "Python 3.11 is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(1)
endef

.PHONY: demo serve test lint docs lock image-test clean
.DELETE_ON_ERROR:

# Without uv, ops/install.py uses pip.
$(UV_VENV)/.installed: requirements-uv.txt
	$(call new_venv,$(UV_VENV))
	$(UV_VENV)/bin/python $(PIP) install --require-hashes -r requirements-uv.txt || echo "uv is not available: pip installs, which takes minutes"
	@touch $@

$(VENV)/.installed: pyproject.toml requirements.txt requirements-encoder.txt | $(UV_VENV)/.installed
	@echo "installing into $(VENV) (about four gigabytes: a few minutes, less than one from the cache)"
	$(call new_venv,$(VENV))
	$(INSTALL) $(BIN)/python --require-hashes -r requirements.txt
	$(INSTALL) $(BIN)/python --require-hashes --no-deps -r requirements-encoder.txt
	$(INSTALL) $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python train_model.py --dataset-path data/sample --encoder minilm-l6 --pooling mean --head-init probe \
		--select last --train-on train --epochs 4 --init-lr 1e-4 --batch-size 8 --max-length 128 --model-dir $(DEMO)/model \
		--runs-dir $(DEMO)/runs --promote
	$(BIN)/python inference.py --model-path $(DEMO)/model batch data/sample/test --num-files 3 --seed 1
	$(BIN)/python inference.py --model-path $(DEMO)/model inspect --html $(DEMO)/evaluation.html --dataset-path data/sample
	@echo
	@echo "A fine-tuned model is in $(DEMO)/model. Its evaluation is in $(CURDIR)/$(DEMO)/evaluation.html: open it in a browser. Next:"
	@echo "  $(BIN)/textclf live --model-path $(DEMO)/model                 type reviews, see scores"
	@echo "  $(BIN)/textclf versions inspect --model-path $(DEMO)/model     the metrics and all settings"
	@echo "  $(BIN)/textclf train --help                               train on your own texts"
	@echo "  $(BIN)/tensorboard --logdir $(DEMO)/runs                  the training curves"

# The image installs the same lock, so the tests see what the image has.
$(SERVING_VENV)/.installed: requirements-serving.txt | $(UV_VENV)/.installed
	$(call new_venv,$(SERVING_VENV))
	$(INSTALL) $(SERVING_VENV)/bin/python --require-hashes -r requirements-serving.txt
	@touch $@

serve: $(SERVING_VENV)/.installed
	@MODEL_PATH="$${MODEL_PATH:-model}" exec $(SERVING_VENV)/bin/python serving/serve

# --max-worker-restart=0: after a worker dies, pytest-xdist 3.8 waits forever for its files (its issue 1323).
test: $(VENV)/.installed $(SERVING_VENV)/.installed
	TEXTCLF_SERVING_PYTHON="$(CURDIR)/$(SERVING_VENV)/bin/python" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0 $(if $(MARKS),-m "$(MARKS)")

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock: $(UV_VENV)/.installed
	$(UV_VENV)/bin/python ops/lock.py $(UV_VENV)/bin/uv $(UPGRADE)

image-test: $(SERVING_VENV)/.installed
	PYTHON=$(SERVING_VENV)/bin/python ops/image_test.sh

include ops/containers.mk

clean:
	rm -rf $(VENV) $(SERVING_VENV) $(UV_VENV) $(DEMO) .api site dist .image-test .pytest_cache .mypy_cache .ruff_cache
