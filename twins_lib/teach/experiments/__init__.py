"""What toys and stored runs of the lessons are made with."""
