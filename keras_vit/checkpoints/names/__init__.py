"""What each library calls the arrays of a model."""
