"""The project's own lints: rules of the design that no other tool knows.

`python -m lints [ROOT]` prints one line per finding and exits 1 if there is any.
Each lint is a function of a `Tree` that yields findings; tests plant violations
in small trees and see them found.
"""
