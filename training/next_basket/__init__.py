"""Purchases → a served model of next baskets, and the simpler methods that it has to beat."""
