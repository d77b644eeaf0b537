"""STS: who asks, and temporary credentials for users and roles. Nothing is stored: a session is written in its token."""
