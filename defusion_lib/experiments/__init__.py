"""What the study notebooks share: ablations, deep baselines, attention, efficiency, stress tests."""
