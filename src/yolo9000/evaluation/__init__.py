"""Metrics of detectors and classifiers, flat and on a label tree, and the runs that compute them.

`evaluate` puts all metrics of one data set together; `runner` runs a model over a data set; `labels` says which of the
model's labels each class is; `coco_results` reads other programs' predictions.

On flat arrays (`scored`, in NumPy): `match` matches predictions with ground truth; `voc` and `coco` are the two usual
average precisions; `curves` has the F1 curve and the confusion matrix; `calibration` reliability; `classification`
top-k accuracy; `label_only` the mAP of classes without boxes. On a label tree: `tree_paths`, `tree_ap`,
`tree_severity`. `coco` needs the extra ``val``, `plots` and `report` need the extra ``report``; the other metrics need
neither.

Every fraction or mean of nothing is NaN.
"""
