"""The neighbours that Lambent owns, one folder each and all of one shape."""
