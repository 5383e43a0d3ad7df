"""Recipes that come with the package: TOML files; see `yolo9000.training.recipe`."""
