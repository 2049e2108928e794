"""Tells the format of a file by the names of its arrays, and what of the file is no model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from keras_vit.checkpoints.names.formats import FORMATS, Format
from keras_vit.checkpoints.names.keys import members

# What trainers and larger models put before the names, any number of times.
_PREFIX = re.compile(
    r"^(?:(?:params|opt/target|img)/|(?:module|_orig_mod|_forward_module|model|net|network|backbone|"
    r"base_model|teacher|student|ema|model_ema|ema_model|base_encoder|encoder_q|image_encoder|"
    r"vision_tower|visual|trunk|timm_model|vit|state_dict)\.)+"
)

# Arrays beside those of a model, after the prefix: the state of a training, counters, the token of
# masked patches, what code computes, the heads and the decoders that only a pretraining uses.
_LEFT_OUT = re.compile(
    r"opt/.*|chrono/.*|step|opt_state/.*|optimizer[./].*|lr_scheduler[./].*|scaler[./].*|"
    r"epoch|global_step|iteration|n_averaged|num_updates|decay|(\w+\.)*mask_token|"
    r"(.*\.)?position_ids|decoder[._].*|rope_embed\.periods|.*\.bias_mask|local_cls_norm\..*|"
    r"(dino_head|ibot_head|dino_loss|ibot_patch_loss)\..*|head\.(mlp(?!\.fc)|last_layer)\..*"
)

# A file of images and texts: what names of the image tower have, and what the rest is called.
_IMAGE_TOWER = re.compile(r"(^|[./])(visual|vision_model|img)[./]")
_TEXT_TOWER = re.compile(
    r"^((params|opt/target)/|module\.|model\.)*("
    r"(text|text_model|transformer|token_embedding|ln_final)\..*|txt/.*|t|b|positional_embedding|"
    r"text_projection(\.weight)?|logit_scale|logit_bias|input_resolution|context_length|vocab_size)"
)


@dataclasses.dataclass(frozen=True)
class Detected:
    """What the names of a file's arrays say.

    Attributes:
        format: The row of `FORMATS`.
        sources: Name of every array as the row spells it -> as the file does; several where arrays
            hold a variable together.
        left_out: Names in the file of arrays that are no part of a model.
    """

    format: Format
    sources: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]


def detect(shapes: Mapping[str, tuple[int, ...]]) -> Detected | None:
    """The format of a file from the names of its arrays; `None` if it is no known one.

    Args:
        shapes: Name of every array -> its shape.

    Raises:
        ValueError: If two names are the same array.
    """
    bare = {name: _PREFIX.sub("", name) for name in shapes}
    with_texts = any(_IMAGE_TOWER.search(name) for name in bare)
    left_out = tuple(
        name for name in bare
        if _LEFT_OUT.fullmatch(bare[name]) or (with_texts and _TEXT_TOWER.fullmatch(name))
    )  # fmt: skip
    for file_format in FORMATS:
        spelled = [(file_format.spelling(bare[n]), n) for n in bare if n not in left_out]
        found = dict(spelled)
        if not all(marker in found for marker in file_format.markers):
            continue
        if any(name in found for name in file_format.lacks):
            continue
        if file_format.packed is not None:
            first, second = (shapes.get(found.get(n, ""), ()) for n in file_format.packed)
            if first[:1] != tuple(2 * n for n in second[1:2]):
                continue
        sources: dict[str, tuple[str, ...]] = {}
        for name, source in spelled:
            if name in sources:
                raise ValueError(
                    f"Two arrays of the file are the same parameter: {sources[name][0]!r} and "
                    f"{source!r}. The file holds two models, or one under two kinds of names. Save "
                    "one alone."
                )
            sources[name] = (source,)
        for key in file_format.keys:
            parts = members(key.array)
            if len(parts) > 1 and all(part in sources for part in parts):
                joint = tuple(sources[part][0] for part in parts)
                if len({shapes[name] for name in joint}) == 1:
                    sources = {n: s for n, s in sources.items() if n not in parts}
                    sources[key.array] = joint
        return Detected(file_format, sources, left_out)
    return None
