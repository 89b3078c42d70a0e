"""The interactive chat: reading lines, answering, slash commands, the screen. Knows nothing of retrieval."""
