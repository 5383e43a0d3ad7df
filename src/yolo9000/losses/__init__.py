"""What training minimises: the region loss of a detector, the class loss of a classifier, flat and on a label tree."""
