"""The whole configuration of a run as one typed tree; named starting points; what every setting may be."""
