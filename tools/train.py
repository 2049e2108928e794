#!/usr/bin/env python
"""`keras-vit train`, from a checkout: `python tools/train.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["train", *sys.argv[1:]]))
