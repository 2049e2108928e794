"""What is done to training images beyond the crop."""
