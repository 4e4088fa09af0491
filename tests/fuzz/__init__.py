"""Inputs that grow: reading one costs in proportion to its size."""
