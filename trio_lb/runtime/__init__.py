"""A load balancer at work in one process: the service of a worker, and the one to embed."""
