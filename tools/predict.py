#!/usr/bin/env python
"""`keras-vit predict`, from a checkout: `python tools/predict.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["predict", *sys.argv[1:]]))
