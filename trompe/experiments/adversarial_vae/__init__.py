"""Adversarial images for variational autoencoders (Tabacof, Tavares & Valle 2016)."""
