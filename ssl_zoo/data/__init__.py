"""Data of any modality: sources, loading, caching, checking."""
