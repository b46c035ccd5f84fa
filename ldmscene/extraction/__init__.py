"""From a plan and a manifest to a filled store."""
