"""Studies: many runs as one question. Compare recipes, or measure what a leaking split gives away."""
