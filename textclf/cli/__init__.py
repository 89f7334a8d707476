"""What all command lines share: commands with one-line errors, options, time spans. Imports the hall only."""
