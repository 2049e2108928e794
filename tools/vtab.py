#!/usr/bin/env python
"""`keras-vit vtab`, from a checkout: `python tools/vtab.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["vtab", *sys.argv[1:]]))
