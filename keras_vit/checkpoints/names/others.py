"""Arrays by which models are known that keras_vit does not have. A table, to say what a file is."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A pattern of the name of an array, and what has such an array.
_OTHERS = (
    (r"^classifier\.", "CLIP or SigLIP with a classifier of transformers on the mean of tokens"),
    (r"(^|\.)attnpool\.", "CLIP with a ResNet for the images"),
    (r"relative_position|rel_pos", "a model with relative positions, as BEiT and Swin have"),
    (r"[qk]_norm\.|(query|key)_norm/", "a Transformer that normalises queries and keys"),
    (r"rope|freqs", "a Transformer with rotary positions of another kind than DINOv3's"),
    (r"^(txt|text|text_model|transformer\.resblocks)[./]", "a model of text and images"),
    (r"lora_[AB]", "adapters (LoRA) without their model: merge them first"),
    (
        r"attn\.norm\.|mlp\.norm\.",
        "EVA-02 or BEiT-3, with norms inside attention and MLP and rotary positions of their own",
    ),
    (
        r"attn\.[qv]_bias$",
        "EVA or EVA-02, with rotary positions of their own or norms after the branches",
    ),
    (r"^layers\.\d+\.blocks\.", "a Swin Transformer"),
    (r"(^|\.)bn1\.|running_mean", "a network with batch norms"),
)


def what_has(names: Iterable[str]) -> str | None:
    """`"It looks like ..."`, of a model that is not known here, by the names of its arrays."""
    names = list(names)
    for pattern, title in _OTHERS:
        if any(re.search(pattern, name) for name in names):
            return f"It looks like {title}, and keras_vit has no such model."
    return None
