"""Simulated providers, one for each handler and in its wire format, with knobs that inject faults."""
