"""From what users have (arrays, data frames, labels) to tensors, and back."""
