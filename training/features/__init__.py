"""One encoder per kind of input: a torch module, fitted on the training split, exported with the model."""
