"""Turns records into text and tables. It returns what is to be shown; only the command line prints."""
