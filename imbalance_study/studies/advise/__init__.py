"""Advice on one image set: the remedy, the certainty, the cost, and the next step."""
