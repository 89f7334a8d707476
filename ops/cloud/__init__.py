"""SageMaker and ECR: requests as pure functions, and what makes the calls."""
