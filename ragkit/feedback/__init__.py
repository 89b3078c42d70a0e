"""What users thought of answers: kept, reviewed, and turned into questions and training data."""
