"""What a row of tests/support/families_of_the_field.py is: a kind of file of another library.

Importing this file needs neither timm nor torch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

WIDTH, DEPTH, HEADS, PATCH, CLASSES = 48, 2, 4, 8, 5
SIZE = 32
LIBRARIES = {"timm": ("timm", "timm"), "transformers": ("Hugging Face", "huggingface")}


def timm_tokens(model: Any, pixels: Any) -> Any:
    """[B, P + N, D] after the last norm."""
    return model.forward_features(pixels)


def hugging_face_tokens(model: Any, pixels: Any) -> Any:
    """[B, P + N, D] after the last norm."""
    always = model.config.model_type.startswith("dinov2")
    options = {} if always else {"interpolate_pos_encoding": True}
    return model.base_model(pixels, **options).last_hidden_state


TOKENS = {"timm": timm_tokens, "transformers": hugging_face_tokens}


@dataclasses.dataclass(frozen=True)
class Peer:
    """A kind of file of another library.

    Attributes:
        name: Of its test, `pytest tests/checkpoints/test_families.py -k NAME`.
        family: What people call these models.
        library: The module that has them, a key of `LIBRARIES`.
        classes: What the library calls them, for people.
        build: (the module, size of the image) -> a small random model in PyTorch.
        options: Arguments of `from_checkpoint` for what the file does not say.
        has_head: Whether the logits are compared, or the tokens alone.
        tokens: (their model, pixels) -> its tokens after the last norm. Default: by the library.
        saved: What is done to the names of its arrays before they are saved.
        back: Class of the library that opens what we write, where it is not that of `build`;
            `""` where none does.
        build_back: The same as `build`, of that class, where the library is timm.
        opened_at: Size of the image in pixels, for a file that does not say it.
        left_out: What of the file is no part of our model; the loader says it.
        other_sizes: Sizes of images, in pixels, that the file was not trained at.
    """

    name: str
    family: str
    library: str
    classes: str
    build: Callable[[Any, Any], Any]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    has_head: bool = True
    tokens: Callable[[Any, Any], Any] | None = None
    saved: Callable[[dict[str, Any]], dict[str, Any]] = dict
    back: str | None = None
    build_back: Callable[[Any, Any], Any] | None = None
    opened_at: int | None = None
    left_out: str = ""
    other_sizes: tuple[Any, ...] = (48, (40, 64))

    @property
    def format(self) -> str:
        """The `format=` of `save_weights`."""
        return LIBRARIES[self.library][1]

    @property
    def row(self) -> list[str]:
        """Its cells in the table of docs/convert.md."""
        title, _ = LIBRARIES[self.library]
        back = {None: "yes", "": "-"}.get(self.back) or f"as `{self.back}`"
        return [self.family, f"{title}: {self.classes}", f"`{self.format}`", "yes", back,
                self.left_out or "-", f"`{self.name}`"]  # fmt: skip


def timm_vit(timm: Any, image_size: Any, **options: Any) -> Any:
    settings = {
        "img_size": image_size, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH,
        "num_heads": HEADS, "num_classes": CLASSES, "dynamic_img_size": True, **options,
    }  # fmt: skip
    return timm.models.vision_transformer.VisionTransformer(**settings)


def timm_bit(timm: Any) -> Any:
    return timm.models.resnetv2.ResNetV2(
        layers=(2, 1, 1, 1),
        num_classes=CLASSES,
        conv_layer=functools.partial(timm.layers.StdConv2d, eps=1e-8),
        stem_type="fixed",
    )


def hugging_face(
    transformers: Any, image_size: Any, model: str, config: str, **options: Any
) -> Any:
    settings = {
        "image_size": image_size, "patch_size": PATCH, "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "num_labels": CLASSES, **options,
    }  # fmt: skip
    return getattr(transformers, model)(getattr(transformers, config)(**settings))
