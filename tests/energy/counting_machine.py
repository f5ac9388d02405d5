"""Arithmetic that counts itself, for the tests of what is counted."""

from collections import Counter


class Machine:
    """Scalar arithmetic that counts itself; with ``events`` a product with an input of 1 or -1 is an addition."""

    def __init__(self, events=False):
        self.counts, self.events = Counter(), events

    def _count(self, kind, value):
        self.counts[kind] += 1
        return value

    def mac(self, a, b, c):
        return self._count("multiply_accumulate", a + b * c)

    def product(self, total, value, weight):
        """Adds the product of an input, which is not zero, with a weight."""
        if self.events and value in (1, -1):
            return self.add(total, value * weight)
        return self.mac(total, value, weight)

    def narrow(self, total, value, weight, bits):
        """Adds the product of an integer of so many bits, which is not zero, with a weight."""
        self.counts["multiplier_bit"] += bits if bits > 1 else 0
        return self.add(total, value * weight)

    def add(self, a, b):
        return self._count("accumulate", a + b)

    def mul(self, a, b):
        return self._count("multiply", a * b)

    def more(self, a, b):
        return self._count("comparison", a > b)

    def function(self, f, *values):
        return self._count("transcendental", f(*values))

    def dot(self, a, b):
        total = 0.0
        for x, y in zip(a, b):
            total = self.mac(total, x, y)
        return total

    def effort(self):
        return 2 * self.counts["multiply_accumulate"] + self.counts["accumulate"] + self.counts["multiply"]
