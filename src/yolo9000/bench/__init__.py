"""How fast a detector is here, in each engine and beside other programs, and whether they all compute the same."""
