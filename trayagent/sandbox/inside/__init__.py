"""Programs that run inside the laboratory's namespaces. They use only the standard library and are started by path."""
