"""Use a trained model: load, predict, explain, export."""
