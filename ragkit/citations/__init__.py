"""Markers in an answer to verbatim spans in the source."""
