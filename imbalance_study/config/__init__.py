"""Configuration of a run: options, choices, recipes, defaults, rules. It imports no torch."""
