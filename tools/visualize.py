#!/usr/bin/env python
"""`keras-vit visualize`, from a checkout: `python tools/visualize.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["visualize", *sys.argv[1:]]))
