"""A published version of very many classes → one that scores some of them for a row, and what it misses by that."""
