"""Trompe: attack, defend and audit models through the latent spaces of generative models."""

__version__ = "0.1.0"
__all__ = ["__version__"]
