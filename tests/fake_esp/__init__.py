"""ESPs of ours, on loopback: they speak the APIs of real ones, write down what they took, and misbehave as they are told."""
