"""Records of drift monitoring: text features, the training reference, the monitoring state. Imports the hall only."""
