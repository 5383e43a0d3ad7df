"""What is particular to training a classifier and a detector."""
