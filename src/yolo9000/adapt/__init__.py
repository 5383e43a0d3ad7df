"""What is done to a trained model, and anchors for one to come."""
