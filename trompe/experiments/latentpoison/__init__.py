"""LatentPoison: one shift of all codes (Creswell, Bharath & Sengupta 2017)."""
