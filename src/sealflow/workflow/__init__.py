"""Workflows: nodes, links, the document they are kept in, and the engine that runs them."""
