"""Judging a model: scores, tables and the report."""
