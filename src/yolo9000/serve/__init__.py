"""The detector behind HTTP, and its page: from a server, or as one file; see docs/serve.md."""
