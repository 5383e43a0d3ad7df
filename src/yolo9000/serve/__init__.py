"""The page in a browser: from a server, or as one file."""
