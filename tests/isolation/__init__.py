"""The matrix: every route × every place of it that takes an id × everybody to whom the id does not belong.

`slots` finds routes and places in the OpenAPI schema, `world` is what a tenant has, `principals` who tries, `asking` how, `traces` what
must not be seen or changed, `matrix` tries and reports what leaks, `walls` takes walls out.
"""
