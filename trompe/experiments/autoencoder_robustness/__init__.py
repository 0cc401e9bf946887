"""Robustness of autoencoders: maximum damage, margins, and one vector for all inputs."""
