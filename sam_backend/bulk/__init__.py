"""What works on whole data sets; each command of `python -m sam_backend` is a module here."""
