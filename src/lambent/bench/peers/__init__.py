"""Other servers that run Lambda functions, measured with the same function in the same run: a file for each."""
