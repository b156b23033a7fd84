"""Pages over HTTP: a URL -> a view -> HTML, JSON or CSV. Nothing is kept between requests but short-lived answers.

`paths` reads and writes URLs, a module a page makes its view, `answers` turns a view into a response, `app` is the
order in which a request is looked at.
"""
