"""From a trained encoder and labelled samples to a classifier: training, its folder, predictions."""
