"""The pre-trainings of the ViT paper's Table 6, and the models in it that were never released.

All 18 rows come from arXiv 2010.11929 v2, appendix C ("Detailed results of model scaling
experiments", which corresponds to Figure 5). Three transcriptions of it, one of them from
ar5iv.labs.arxiv.org, agree in every digit.
"""

from __future__ import annotations

from typing import NamedTuple

from keras_vit.models import BiTConfig, ResNetStem, ViTConfig
from keras_vit.models.variants import Config

# Section 4.1: a hybrid of stride 32 takes the output of stage 4 of a ResNet-50; one of stride 16
# has the units of stage 4 in stage 3. R200 is He et al.'s ResNet-200 (arXiv 1603.05027).
_R50, _R50_STRIDE_16, _R152, _R200 = (3, 4, 6, 3), (3, 4, 9), (3, 8, 36, 3), (3, 24, 36, 3)

UNRELEASED: dict[str, Config] = {
    "BiT_R50x2": BiTConfig(_R50, 2, "BiT-R50x2"),
    "BiT_R152x1": BiTConfig(_R152, 1, "BiT-R152x1"),
    "BiT_R200x3": BiTConfig(_R200, 3, "BiT-R200x3"),
    "R50_ViT_B32": ViTConfig(1, 768, 12, 12, 3072, ResNetStem(_R50), "R50+ViT-B/32"),
    "R50_ViT_L16": ViTConfig(1, 1024, 24, 16, 4096, ResNetStem(_R50_STRIDE_16), "R50+ViT-L/16"),
}


class Run(NamedTuple):
    """A pre-training on JFT-300M, and the accuracy after fine-tuning at 384 pixels.

    Attributes:
        model: Name in `keras_vit.VARIANTS` or in `UNRELEASED`.
        epochs: Epochs of the pre-training.
        imagenet: Top-1 accuracy on ImageNet in percent, as all that follow.
        imagenet_real: On ImageNet with the ReaL labels.
        cifar10: On CIFAR-10.
        cifar100: On CIFAR-100.
        pets: On Oxford-IIIT Pets.
        flowers: On Oxford Flowers-102.
        exaflops: Compute of the pre-training, in 1e18 floating-point operations.
    """

    model: str
    epochs: int
    imagenet: float
    imagenet_real: float
    cifar10: float
    cifar100: float
    pets: float
    flowers: float
    exaflops: float


TABLE_6: tuple[Run, ...] = (
    Run("ViT_B32", 7, 80.73, 86.27, 98.61, 90.49, 93.40, 99.27, 55),
    Run("ViT_B16", 7, 84.15, 88.85, 99.00, 91.87, 95.80, 99.56, 224),
    Run("ViT_L32", 7, 84.37, 88.28, 99.19, 92.52, 95.83, 99.45, 196),
    Run("ViT_L16", 7, 86.30, 89.43, 99.38, 93.46, 96.81, 99.66, 783),
    Run("ViT_L16", 14, 87.12, 89.99, 99.38, 94.04, 97.11, 99.56, 1567),
    Run("ViT_H14", 14, 88.08, 90.36, 99.50, 94.71, 97.11, 99.71, 4262),
    Run("BiT_R50x1", 7, 77.54, 84.56, 97.67, 86.07, 91.11, 94.26, 50),
    Run("BiT_R50x2", 7, 82.12, 87.94, 98.29, 89.20, 93.43, 97.02, 199),
    Run("BiT_R101x1", 7, 80.67, 87.07, 98.48, 89.17, 94.08, 95.95, 96),
    Run("BiT_R152x1", 7, 81.88, 87.96, 98.82, 90.22, 94.17, 96.94, 141),
    Run("BiT_R152x2", 7, 84.97, 89.69, 99.06, 92.05, 95.37, 98.62, 563),
    Run("BiT_R152x2", 14, 85.56, 89.89, 99.24, 91.92, 95.75, 98.75, 1126),
    Run("BiT_R200x3", 14, 87.22, 90.15, 99.34, 93.53, 96.32, 99.04, 3306),
    Run("R50_ViT_B32", 7, 84.90, 89.15, 99.01, 92.24, 95.75, 99.46, 106),
    Run("R50_ViT_B16", 7, 85.58, 89.65, 99.14, 92.63, 96.65, 99.40, 274),
    Run("R50_ViT_L32", 7, 85.68, 89.04, 99.24, 92.93, 96.97, 99.43, 246),
    # The 859 may be a slip: it is 3 % more than half of the 1668 of 14 epochs.
    Run("R50_ViT_L16", 7, 86.60, 89.72, 99.18, 93.64, 97.03, 99.40, 859),
    Run("R50_ViT_L16", 14, 87.12, 89.76, 99.31, 93.89, 97.36, 99.11, 1668),
)
