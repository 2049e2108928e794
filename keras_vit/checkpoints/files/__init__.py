"""What a file is: arrays by name, read from what nobody has vouched for."""
