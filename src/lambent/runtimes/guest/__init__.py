"""The programs that run inside cages, on the function's own interpreter. Nothing here is imported by the server."""
