"""Simulated providers that speak the real wire shapes of every handler, with knobs for what goes wrong."""
