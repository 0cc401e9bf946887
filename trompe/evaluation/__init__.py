"""The harness: measure outside the attack, and check what was measured."""

__all__: list[str] = []
