#!/usr/bin/env python
"""`keras-vit evaluate`, from a checkout: `python tools/evaluate.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
