"""What runs in the neighbours' process. Nothing of this is imported by the server."""
