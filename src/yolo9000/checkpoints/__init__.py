"""Files of trained networks: reading, writing, export."""
