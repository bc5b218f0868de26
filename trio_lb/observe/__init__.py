"""What the balancer tells of itself: statistics, reports on a terminal or in a file, access log."""
