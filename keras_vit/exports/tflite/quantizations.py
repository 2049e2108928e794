"""What a TFLite file may be quantised to; `quantize` says what each of them is."""

from __future__ import annotations

QUANTIZATIONS = ("float16", "dynamic_int8", "int8", "int4")
# Those that must see photos like those that the model will see.
NEED_PHOTOS = ("int8", "int4")
