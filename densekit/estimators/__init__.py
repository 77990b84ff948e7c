"""Density estimators with scikit-learn's API, one file a model."""
