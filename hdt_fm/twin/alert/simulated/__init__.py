"""What an alert is worth: simulated people with known truth, how alerts are counted, simpler rules and the bound."""
