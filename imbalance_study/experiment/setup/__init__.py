"""From a configuration to functions, device, data and model."""
