"""Turns records into text and tables. Only the command line prints them."""
