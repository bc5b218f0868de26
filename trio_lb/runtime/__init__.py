"""A load balancer in one process: the service of a worker, and the embedded load balancer."""
