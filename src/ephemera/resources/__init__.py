"""What programs are made of; :mod:`ephemera` offers it."""
