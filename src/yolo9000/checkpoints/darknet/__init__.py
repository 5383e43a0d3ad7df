"""Darknet's files: read into this project's values and written from them."""
