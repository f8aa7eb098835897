"""A monitor: follows a log of others by its URL alone, and believes nothing of it."""
