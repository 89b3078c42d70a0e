"""Language, tokens and sentences, for Chinese and English alike. Pure functions; no I/O."""
