"""Texts in one file, a line for each."""
