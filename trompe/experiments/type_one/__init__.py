"""Type I attack: cheating classifiers by significant changes (Tang et al. 2019)."""
