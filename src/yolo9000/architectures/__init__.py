"""The description of networks as layers, their weights, and what runs them. Only `.torch` imports torch."""
