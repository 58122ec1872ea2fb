"""How the many senders of reports say it: a function for each, from a report to what is in it."""
