"""What happens to requests, counted in the process, written now and then, and read by the dashboard's charts."""
