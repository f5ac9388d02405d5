"""Tables of the field: which models are run on which graphs, under which budget, and what others published."""
