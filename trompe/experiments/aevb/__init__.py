"""Auto-encoding variational Bayes (Kingma & Welling 2014), on digits."""
