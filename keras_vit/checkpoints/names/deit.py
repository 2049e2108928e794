"""Names of the arrays of distilled DeiT (arXiv 2012.12877). Tables, as in `keys.py`.

The logits of a distilled DeiT are the mean of two heads, one on the class token and one on the
distillation token. That is one head on both tokens, and so we have it. Sources: timm 1.0 (deit.py),
transformers 4 and 5 (models/deit).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from keras_vit.checkpoints.names.keys import Key, joined
from keras_vit.checkpoints.names.pytorch import (
    HUGGING_FACE_KEYS,
    HUGGING_FACE_RENAMES,
    TIMM_VIT_KEYS,
)


def _with_two_heads(keys: Iterable[Key], *heads: str) -> Iterator[Key]:
    for key in keys:
        if key.variable.startswith("head/"):
            part = key.array.rpartition(".")[2]
            layout = {"weight": "two_weights", "bias": "two_biases"}[part]
            arrays = joined(f"{head}.{part}" for head in heads)
            yield dataclasses.replace(key, array=arrays, layout=layout)
        else:
            yield key


TIMM_DISTILLED_KEYS = tuple(_with_two_heads(TIMM_VIT_KEYS, "head", "head_dist"))

DEIT_KEYS = (
    *(
        dataclasses.replace(key, array=key.array.replace("vit.", "deit."))
        for key in HUGGING_FACE_KEYS
    ),
    Key("distillation_token/token", "deit.embeddings.distillation_token"),
)
DEIT_TEACHER_KEYS = tuple(_with_two_heads(DEIT_KEYS, "cls_classifier", "distillation_classifier"))

DEIT_RENAMES = tuple(
    (pattern.replace("vit", "deit"), replacement.replace("vit", "deit"))
    for pattern, replacement in HUGGING_FACE_RENAMES
)
