"""Measures Lambent beside yardsticks and peers, each in the same run on the same machine: `lambent bench`.

It meets servers only as users do, as processes and through HTTP: no part of the server is imported here but the stores and values that some
measures fill a data directory with.
"""
