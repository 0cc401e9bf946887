"""Kingma & Welling 2014, "Auto-Encoding Variational Bayes": its figures, on digits."""
