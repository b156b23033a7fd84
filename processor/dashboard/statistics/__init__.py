"""Whether one arm of a parameter does better than another, by how much, how surely, and whether that is fair; pure.

`compare.compare` is the way in. Trials of a search are no randomised experiment: samplers choose by what went before,
so that arms differ in their sizes, in their other parameters and in when they were tried. Hence every figure here has
an interval, says what it is about and what it left out, and the raw one has a stratified one beside it.
"""
