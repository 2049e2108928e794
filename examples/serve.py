"""A development server: an exported SavedModel with the interfaces of TF Serving. Not for
production. `keras-vit serve` is the same.

python examples/serve.py models/vit
curl -s localhost:8501/v1/models/vit:predict -d '{"instances": [{"b64": "'$(base64 -w0 a.jpg)'"}]}'
"""

import sys

from keras_vit.cli.main import main

sys.exit(main(["serve", *sys.argv[1:]]))
