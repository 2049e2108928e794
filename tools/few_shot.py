#!/usr/bin/env python
"""`keras-vit few-shot`, from a checkout: `python tools/few_shot.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["few-shot", *sys.argv[1:]]))
