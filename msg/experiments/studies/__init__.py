"""Studies: what is planned and how it is summarised, one a file."""
