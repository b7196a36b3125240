"""Pictures of schedules: what they show, and how they are drawn by matplotlib and as SVG."""
