"""Records of drift monitoring: text features, training reference, monitoring state. Imports only base modules."""
