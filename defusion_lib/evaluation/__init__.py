"""Scores beyond Eq. 11-12: protocols, statistics, published maps, tables."""
