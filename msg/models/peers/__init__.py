"""Models of other papers, rebuilt from their formulas, one a file."""
