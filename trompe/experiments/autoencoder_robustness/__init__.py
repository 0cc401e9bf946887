"""How far an autoencoder can be moved when nobody chooses where to: damage, margins, one vector for all."""
