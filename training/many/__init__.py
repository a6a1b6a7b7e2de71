"""A trained model of very many classes: the graph that is exported, and exact figures over all classes."""
