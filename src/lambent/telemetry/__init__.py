"""What Lambent tells about itself."""
