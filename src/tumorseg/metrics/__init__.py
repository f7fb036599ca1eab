"""Every score, as pure functions on arrays; NumPy and SciPy, no torch."""
