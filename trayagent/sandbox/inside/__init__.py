"""Programs that run inside the laboratory's namespaces: standard library only, each started by its path."""
