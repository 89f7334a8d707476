"""SageMaker training jobs: channels, hyperparameters and the `train` command."""
