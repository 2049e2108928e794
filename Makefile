# Everything runs from .venv, which the first of these commands makes. Relative paths only, so
# that a folder with a space in its name works too.
PYTHON ?= python3
RUN = .venv/bin/python
STAMP = .venv/.installed
INTEROP = .venv/.interop
PEERS = .venv/.peers

.PHONY: venv demo test interop test-interop test-slow lint bench bench-peers web clean

venv: $(STAMP)

# The stamp is written last: an interrupted installation is taken up again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed (Keras 3.15 asks for it); say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv .venv
	@echo "Installing into .venv; the first time this takes some minutes."
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[test]'
	@touch $(STAMP)

# Handwritten digits, a small Vision Transformer from scratch, no network.
demo: venv
	$(RUN) tools/finetune.py --data digits --out runs/digits --overwrite
	@echo
	@echo "Look at runs/digits/curves.png and runs/digits/predictions.png. What to try next:"
	@echo "  .venv/bin/python tools/finetune.py --data YOUR_FOLDER_OF_CLASS_FOLDERS --model ViT_B16"
	@echo "  .venv/bin/python tools/predict.py PHOTO.jpg --model ViT_B16"
	@echo "  .venv/bin/python tools/finetune.py --help"

lint: venv
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath $(RUN)

test: lint
	$(RUN) -m pytest -n 2 -m "not slow"
	KERAS_BACKEND=jax $(RUN) -m pytest -n 2 -m "any_backend and not slow"

# Weights to timm and Hugging Face and back. Installs PyTorch, which is large.
$(INTEROP): $(STAMP)
	@echo "Installing torch, timm and transformers into .venv."
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[test,interop]'
	@touch $(INTEROP)

interop: $(INTEROP)

test-interop: $(INTEROP)
	$(RUN) -m pytest -n 2 tests/checkpoints/test_interop.py

# The page of examples/web with a ViT-Ti/16; needs node's npm.
web: venv
	cd examples/web && npm ci --ignore-scripts --no-audit --no-fund
	test -f examples/web/model.onnx || $(RUN) examples/web/prepare.py ViT_Ti16
	$(RUN) examples/web/serve.py

# Minutes: full training runs on real photos (needs ../shared) and on the digits.
test-slow: venv
	$(RUN) -m pytest -m slow

# The libraries that benchmarks/speed/inference.py and training.py run beside ours.
$(PEERS): $(INTEROP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[test,peers]'
	@touch $(PEERS)

bench-peers: $(PEERS)

# The short version of each; what is slower than its goal says so and does not stop the others.
bench: venv
	-$(RUN) -m benchmarks.speed.inference --quick
	-$(RUN) -m benchmarks.speed.training --quick
	-$(RUN) -m benchmarks.speed.loading
	-$(RUN) -m benchmarks.speed.sequence --quick
	$(RUN) -m benchmarks.size.tflite
	$(RUN) -m benchmarks.speed.input --quick

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
