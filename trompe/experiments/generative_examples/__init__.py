"""Adversarial examples for generative models (Kos, Fischer & Song 2017)."""

__all__: list[str] = []
