"""What Lambda's control operations do: members in, members out, no HTTP."""
