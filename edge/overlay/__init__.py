"""Pictures for people: boxes, labels and masks drawn on the frame a result was made of."""
