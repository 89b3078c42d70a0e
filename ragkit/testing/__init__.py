"""Fakes for tests of code that uses ragkit: a scripted chat model and a hashing embedder."""
