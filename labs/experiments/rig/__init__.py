"""What experiments are built from: cables to pull, proxies, browsers, clients of a special kind."""
