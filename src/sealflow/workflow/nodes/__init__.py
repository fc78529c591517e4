"""The nodes that come with sealflow: http-request, transform, function."""
