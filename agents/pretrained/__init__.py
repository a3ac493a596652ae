"""Policies that come with the package; README.md beside this file has the command that made each."""
