"""Why does it look like that? Explanations of models and pictures, each with a test it can fail."""
