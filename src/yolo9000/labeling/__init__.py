"""Data sets from predictions: labels for images that nobody has labelled yet."""
