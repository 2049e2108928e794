"""Changes training images at random, beyond the crop."""
