"""What the arrays of a file are called, in each library."""
