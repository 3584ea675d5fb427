"""The main job on the embedded atlas, from three graphs to one honest table."""
