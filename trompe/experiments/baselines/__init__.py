"""Our own baselines: attacks that several libraries have, beside each other."""
