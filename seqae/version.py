"""The version, on the ground floor, so that a bundle can name it without importing the package."""

__version__ = "0.1.0"
