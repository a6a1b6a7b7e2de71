"""Files → a split data set: one reader per source, chosen by the configuration."""
