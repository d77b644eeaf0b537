"""The AWS protocols, both ways, from botocore's service models. Knows no service; does no I/O but reading the models."""
