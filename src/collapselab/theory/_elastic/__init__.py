"""What the models of local elasticity share: profiles over time, modes, exact moments, separability."""
