"""Local elasticity: how a step on one sample moves what the network says of another, from the tangent kernel."""
