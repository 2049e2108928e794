"""The commands: `keras-vit predict`, `keras-vit finetune`, ..."""
