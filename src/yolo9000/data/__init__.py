"""Data sets: images, and what their annotators say is in them. Every format comes out as the same `Sample`."""
