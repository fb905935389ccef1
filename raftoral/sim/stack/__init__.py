"""The whole stack in the simulator: nodes with management, two execution groups, and workflows."""
