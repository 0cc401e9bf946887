"""Defence by reconstruction (Hlihor, Volpi & Malago 2020)."""
