"""Images, videos, and the files that commands write."""
