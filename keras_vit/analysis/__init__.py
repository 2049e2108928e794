"""What a model has learned, by the paper's measurements.

Arrays go in from NumPy or from the backend, variables included, and come out as NumPy. Only
`attention_maps` runs a model. Shape letters: B images, N tokens, P prefix tokens (the class token
and the registers), D width; rows and columns count patches.
`page` draws all of them for one model, as a page to look at.
"""

from keras_vit.analysis import page
from keras_vit.analysis.measurements import (
    attention_maps,
    attention_masks,
    attention_rollout,
    mean_attention_distance,
    position_similarity,
    rgb_filters,
    rollout_grids,
)

__all__ = [
    "attention_maps",
    "attention_masks",
    "attention_rollout",
    "mean_attention_distance",
    "page",
    "position_similarity",
    "rgb_filters",
    "rollout_grids",
]
