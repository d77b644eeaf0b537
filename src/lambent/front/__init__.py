"""The network doors: what clients connect to. They find out what is asked, and hand it to services or to the road."""
