"""What a run is told: options, spec strings, recipes, defaults. Nothing here imports torch."""
