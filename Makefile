# Everything runs from .venv, which the first of these commands makes. Relative paths only, so
# that a folder with a space in its name works too.
PYTHON ?= python3
RUN = .venv/bin/python
PIP = $(RUN) -m pip install --quiet --disable-pip-version-check

.PHONY: venv demo docs docs-tables architecture test test-tensorflow test-jax test-torch test-interop test-slow lint lint-peers interop \
	coverage bench bench-peers web release clean

# What is installed is recorded in a file for each extra of pyproject.toml. It is written last: an
# interrupted installation is taken up again.
INSTALLED = $(addprefix .venv/.,demo test onnx interop peers)

$(INSTALLED): .venv/.%: pyproject.toml constraints.txt | $(RUN)
	@echo "Installing the extra \"$*\" into .venv; the first time this takes some minutes."
	$(PIP) -c constraints.txt --editable '.[$*]'
	@touch $@

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed (Keras 3.15 asks for it); say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

# For work on the code.
venv: .venv/.test

# Handwritten digits, a small Vision Transformer from scratch, no network.
demo: .venv/.demo
	$(RUN) tools/finetune.py --data digits --out runs/digits --overwrite
	@echo
	@echo "Look at runs/digits/curves.png and runs/digits/predictions.png. What to try next:"
	@echo "  .venv/bin/python tools/finetune.py --data YOUR_FOLDER_OF_CLASS_FOLDERS --model ViT_B16"
	@echo "  .venv/bin/python tools/predict.py PHOTO.jpg --model ViT_B16"
	@echo "  .venv/bin/python tools/finetune.py --help"

test: how-long lint test-tensorflow test-jax

.PHONY: how-long
how-long:
	@echo "The tests take about 16 minutes on 2 cores, and the first time some more for installing."

lint: .venv/.test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath $(RUN)

# The site, in build/docs: start at index.html. Nothing is fetched, and no notebook runs.
docs: .venv/.test
	$(RUN) -m sphinx -W --keep-going --quiet -b html docs build/docs
	@echo "The site is in build/docs/index.html."

# What the pages repeat of the code: tables, the commands' help, the tree and the picture of the
# packages, the pages of the reference.
docs-tables architecture: .venv/.test
	$(RUN) docs/generate.py

# One test needs keras-cv, whose dependencies do not go with ours; of them it needs only regex.
.venv/.keras-cv: .venv/.test
	$(PIP) -c constraints.txt --no-deps keras-cv regex
	@touch $@

# With REPORTS=folder what each part says of each test goes to a file in it.
report = $(if $(REPORTS),--junitxml="$(REPORTS)/$@.xml")

test-tensorflow: .venv/.keras-cv
	$(RUN) -m pytest -n 2 --dist worksteal -m "not slow" $(report)

test-jax: .venv/.test
	KERAS_BACKEND=jax $(RUN) -m pytest -n 2 --dist worksteal -m "any_backend and not slow" $(report)

# Which lines of the package no test runs; those of other processes count as not run.
coverage: .venv/.keras-cv
	$(RUN) -m pytest -n 2 --dist worksteal -m "not slow" --cov=keras_vit --cov-report=term-missing:skip-covered

# Minutes: full training runs on real photos (needs ../shared) and on the digits.
test-slow: .venv/.test
	$(RUN) -m pytest -m slow

# Weights to timm and Hugging Face and back, with PyTorch, which is large.
interop: .venv/.test .venv/.interop

# The tests that ask for no backend in particular, on PyTorch's.
test-torch: interop
	KERAS_BACKEND=torch $(RUN) -m pytest -n 2 --dist worksteal -m "any_backend and not slow" $(report)

test-interop: interop
	$(RUN) -m pytest -n 2 --dist worksteal tests/checkpoints/test_interop.py tests/checkpoints/test_families.py \
		tests/models/test_features_of_timm.py $(report)

# The libraries that benchmarks/speed/inference.py and training.py run beside ours.
bench-peers: interop .venv/.peers

# The types of the benchmarks are known where what they compare with is installed.
lint-peers: bench-peers
	$(RUN) -m pyright --pythonpath $(RUN) benchmarks

# The short version of each; what is slower than its goal says so and does not stop the others.
bench: .venv/.test
	-$(RUN) -m benchmarks.speed.inference --quick
	-$(RUN) -m benchmarks.speed.training --quick
	-$(RUN) -m benchmarks.speed.loading
	-$(RUN) -m benchmarks.speed.sequence --quick
	$(RUN) -m benchmarks.size.tflite
	$(RUN) -m benchmarks.speed.input --quick

# The page of examples/web with a ViT-Ti/16; needs node's npm.
web: .venv/.onnx
	cd examples/web && npm ci --ignore-scripts --no-audit --no-fund
	test -f examples/web/model.onnx || $(RUN) examples/web/prepare.py ViT_Ti16
	$(RUN) examples/web/serve.py

# What a package index would get, in dist/; the wheel is tried in an empty environment. Uploads nothing.
release:
	rm -rf dist build/release build/empty
	$(PYTHON) -m venv build/release
	build/release/bin/python -m pip install --quiet --disable-pip-version-check build twine
	build/release/bin/python -m build --outdir dist .
	build/release/bin/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd build/empty && TF_CPP_MIN_LOG_LEVEL=2 bin/python ../../tests/programs/installed.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
