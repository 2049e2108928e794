"""`python -m keras_vit`: the same as `keras-vit`."""

import sys

from keras_vit.cli.main import main

sys.exit(main())
