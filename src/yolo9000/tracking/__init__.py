"""Objects followed through videos: tracks, their labels over the tree, and counts."""
