"""Commands for whole data sets. Each command of `python -m sam_backend` is a module here."""
