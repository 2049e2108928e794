#!/usr/bin/env python
"""`keras-vit export`, from a checkout: `python tools/export.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["export", *sys.argv[1:]]))
