"""relay: a voice agent on the web, with the API key on the server."""

__version__ = "0.1.0"
