"""Files to documents, documents to chunks. No models, no index."""
