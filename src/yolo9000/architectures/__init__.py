"""One description of a network, a table of layer rows, and what runs it. Only `layers` and `network` import torch."""
