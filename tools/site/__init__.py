"""The collection as static HTML pages: `make site`, or python -m tools.site in an environment with the extra `site`."""
