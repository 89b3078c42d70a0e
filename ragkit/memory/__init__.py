"""What is remembered of a user: the conversation, and facts over conversations. See ``docs/memory.md``."""
