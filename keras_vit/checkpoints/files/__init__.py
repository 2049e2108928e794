"""Opens a file and reads arrays by name, from files that nobody has vouched for."""
