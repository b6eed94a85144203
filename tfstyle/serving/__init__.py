"""Behind TensorFlow Serving: its files and its start, a development server, and a client."""
