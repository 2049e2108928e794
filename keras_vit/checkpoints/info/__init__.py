"""What a file says about the model in it: the architecture, and what it leaves open."""
