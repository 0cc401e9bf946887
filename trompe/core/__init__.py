"""The vocabulary of the package: what every attack, model and defence is made of."""

__all__: list[str] = []
