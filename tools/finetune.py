#!/usr/bin/env python
"""`keras-vit finetune`, from a checkout: `python tools/finetune.py --help`."""

import sys

from keras_vit.cli.main import main

sys.exit(main(["finetune", *sys.argv[1:]]))
