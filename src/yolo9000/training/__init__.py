"""Training: recipes, the loop, checkpoints, what a run leaves."""
