"""Baselines: attacks that several libraries have, beside each other."""
