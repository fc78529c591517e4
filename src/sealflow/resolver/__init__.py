"""From reference to value: one execution's scope, its cache, the chain of sources, policy, redaction."""
