"""Scores of detectors and classifiers, flat and on a label tree. NumPy; a module each, imported by name.

scored.py collects truth and detections of a data set; matching.py says which detection found which truth.
voc.py and coco.py are the two usual average precisions, curves.py the F1 curve and the confusion matrix,
hierarchy.py what a label tree adds, classification.py top-k accuracy, calibration.py how far scores can be believed.
coco.py needs the package ``faster-coco-eval``, and plots.py ``matplotlib``; nothing else here does.

Every share or mean of nothing is NaN.
"""
