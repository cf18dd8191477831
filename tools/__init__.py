"""What maintainers run now and then: not part of the library, and not of the tests."""
