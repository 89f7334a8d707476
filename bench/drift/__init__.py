"""Power and false alarms of drift detection."""
