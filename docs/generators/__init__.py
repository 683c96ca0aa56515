"""What the site is made of beside its pages: references and pictures, written by code."""
