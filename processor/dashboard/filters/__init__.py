"""The filter language of `q`: text -> tree -> SQL with parameters; pure.

    status = failed and not (parameters.lr < 0.01 or metrics."val acc" is missing)

A condition is true or false, never unknown: one about a value that is not there is false, and `not` turns that round,
so that `A or not A` holds every trial. docs/reference/filters.md has the grammar.
"""
