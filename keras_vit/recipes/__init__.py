"""How the papers train: learning rates, optimisers, losses.

    recipe = keras_vit.recipes.get("vit-finetune", dataset="pets")
    model = keras_vit.ViT_B16(weights="imagenet21k", classes=37, new_head=True,
                              input_shape=(384, 384, 3), **recipe.model_args())
    model.compile(**recipe.compile_args())
    model.fit(data.repeat(), epochs=1, steps_per_epoch=recipe.total_steps)

The rows are in `paper_tables.py`. What a recipe says about images (batch, size, crop, augmentation)
is for the input pipeline: `keras_vit.data.from_folder(folder, **recipe.data_args())`. Its parts
are in `optimizers`, `schedules` and `losses`.
"""

from keras_vit.data.augment.augmentation import AUGMENTATIONS, Augmentation
from keras_vit.recipes import losses, optimizers, schedules
from keras_vit.recipes.papers import get, names
from keras_vit.recipes.recipe import Recipe
from keras_vit.recipes.short import fine_tune_recipe, from_scratch_recipe

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Recipe",
    "fine_tune_recipe",
    "from_scratch_recipe",
    "get",
    "losses",
    "names",
    "optimizers",
    "schedules",
]
