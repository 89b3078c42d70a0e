"""Harmful-content filter for questions and answers: offline rules, an embedding classifier, a moderation endpoint."""
