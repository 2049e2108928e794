"""What every package may use: checks, files, progress."""
