"""Ratios of this library's times and memory to those of its peers; `make bench` measures them."""
