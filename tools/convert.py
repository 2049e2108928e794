#!/usr/bin/env python
"""`keras-vit convert`, from a checkout: `python tools/convert.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["convert", *sys.argv[1:]]))
