"""What leaves the house: a run's models as files other programs load, its pictures, and strangers measured like it."""
