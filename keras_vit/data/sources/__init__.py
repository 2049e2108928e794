"""Where images come from: folders, TensorFlow Datasets, TFRecords, arrays."""
