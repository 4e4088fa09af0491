"""The calls of the API, each described once: pure functions from arguments to a `Call`."""
