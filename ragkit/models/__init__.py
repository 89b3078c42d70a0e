"""Embedding and chat models: resolving a name, preparing bundled weights, running them."""
