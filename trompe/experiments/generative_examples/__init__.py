"""Adversarial examples for generative models (Kos, Fischer & Song 2017)."""
