"""Where the served model comes from: a folder, an archive, S3 or a web server."""
