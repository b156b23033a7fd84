"""`processor dashboard`: what is stored, as pages, figures and comparisons; reads, never writes."""
