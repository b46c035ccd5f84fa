"""From pictures to labels, and what labels say."""
