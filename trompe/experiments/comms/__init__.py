"""Autoencoder communication: one perturbation for every message (Sadeghi & Larsson 2019)."""
