#!/usr/bin/env python
"""`keras-vit plan`, from a checkout: `python tools/plan.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["plan", *sys.argv[1:]]))
