"""The networks, their configurations, and how they are saved and loaded."""
