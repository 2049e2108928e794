"""What our layers are made with: stored parts, random starts, less memory, scaled losses."""
