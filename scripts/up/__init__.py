"""`make up`: the services of docker-compose.yml as plain processes on loopback."""
