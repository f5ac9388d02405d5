"""Models of others, made anew from their papers, to compare with: one a file, each with what differs from its paper and
from its released code.
"""
