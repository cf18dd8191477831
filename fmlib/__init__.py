"""Executable companion to anand2022: helper library."""
