"""The last layer and its loss where there are many classes: full, chunked and sampled."""
